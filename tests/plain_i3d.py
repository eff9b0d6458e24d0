"""I3D the plain way, as public torch ports run it: what `vidrd_model.metrics.i3d` is compared with.

Every convolution is followed by its BatchNorm, every SAME padding is a copy, and all memory is contiguous. The layers
are those of DeepMind's checkpoint (arXiv 1705.07750), named as it names them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidrd_model.metrics.i3d_convert import read_checkpoint

BRANCHES = ("Branch_0", "Branch_1", "Branch_2", "Branch_3")
STEM = ("Conv3d_1a_7x7", "pool2", "Conv3d_2b_1x1", "Conv3d_2c_3x3", "pool3", "Mixed_3b", "Mixed_3c", "pool4")
TRUNK = ("Mixed_4b", "Mixed_4c", "Mixed_4d", "Mixed_4e", "Mixed_4f", "pool5", "Mixed_5b", "Mixed_5c")
POOLS = {
    "pool2": ((1, 3, 3), (1, 2, 2)),
    "pool3": ((1, 3, 3), (1, 2, 2)),
    "pool4": ((3, 3, 3), (2, 2, 2)),
    "pool5": ((2, 2, 2), (2, 2, 2)),
}


def same_padded(x_bcthw: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """Zeros around the input as TensorFlow's SAME wants them, always a copy."""
    sides: list[int] = []
    for size, k, s in reversed(list(zip(x_bcthw.shape[2:], kernel, stride, strict=True))):
        total = max((-(-size // s) - 1) * s + k - size, 0)
        sides += [total // 2, total - total // 2]
    return F.pad(x_bcthw, sides)


class Unit(nn.Module):
    """Padding, convolution, BatchNorm, ReLU."""

    def __init__(self, kernel_thwio: np.ndarray, bias: np.ndarray, stats: dict, stride: int) -> None:
        super().__init__()
        *size, width_in, width_out = kernel_thwio.shape
        self.conv = nn.Conv3d(width_in, width_out, tuple(size), stride, bias=False)
        self.norm = nn.BatchNorm3d(width_out, eps=1e-3)
        self.conv.weight.data = torch.tensor(kernel_thwio.transpose(4, 3, 0, 1, 2).copy())
        self.norm.bias.data = torch.tensor(bias.reshape(-1))
        self.norm.running_mean = torch.tensor(stats["mean"].reshape(-1))
        self.norm.running_var = torch.tensor(stats["var"].reshape(-1))

    def forward(self, x_bcthw: Tensor) -> Tensor:
        x_bcthw = same_padded(x_bcthw, self.conv.kernel_size, self.conv.stride)
        return F.relu(self.norm(self.conv(x_bcthw)))


class PlainI3D(nn.Module):
    """The 400 logits (b, 400) of float clips (b, 3, t, 224, 224) in [-1, 1], averaged over time."""

    def __init__(self, checkpoint: Path) -> None:
        super().__init__()
        tree = read_checkpoint(checkpoint)
        self.units = nn.ModuleDict()
        statistics = _holders(tree["batch_stats"], "BatchNorm_0")
        for path, layer in _holders(tree["params"], "Conv_0").items():
            if path == "Logits/Conv3d_0c_1x1":
                weight, bias = layer["Conv_0"]["kernel"], layer["Conv_0"]["bias"]
                self.logits = nn.Conv3d(1024, 400, 1)
                self.logits.weight.data = torch.tensor(weight.transpose(4, 3, 0, 1, 2).copy())
                self.logits.bias.data = torch.tensor(bias)
                continue
            stride = 2 if path == "Conv3d_1a_7x7" else 1
            self.units[path] = Unit(
                layer["Conv_0"]["kernel"],
                layer["BatchNorm_0"]["bias"],
                statistics[path]["BatchNorm_0"],
                stride,
            )
        self.eval().requires_grad_(False)

    def forward(self, x_bcthw: Tensor) -> Tensor:
        for name in STEM + TRUNK:
            if name in POOLS:
                x_bcthw = F.max_pool3d(same_padded(x_bcthw, *POOLS[name]), *POOLS[name])
            elif name.startswith("Mixed"):
                x_bcthw = torch.cat([self._branch(x_bcthw, name, branch) for branch in BRANCHES], dim=1)
            else:
                x_bcthw = self.units[name](x_bcthw)
        return self.logits(F.avg_pool3d(x_bcthw, (2, 7, 7), stride=1)).mean(dim=(2, 3, 4))

    def _branch(self, x_bcthw: Tensor, block: str, branch: str) -> Tensor:
        if branch == "Branch_3":
            x_bcthw = F.max_pool3d(same_padded(x_bcthw, (3, 3, 3), (1, 1, 1)), 3, 1)
        for layer in ("Conv3d_0a_1x1", "Conv3d_0b_1x1", "Conv3d_0b_3x3"):
            if (path := f"{block}/{branch}/{layer}") in self.units:
                x_bcthw = self.units[path](x_bcthw)
        return x_bcthw


def _holders(tree: dict, of: str, path: str = "") -> dict[str, dict]:
    """Every part of the tree that holds this name, by its path; names in the tree may hold slashes themselves."""
    if of in tree:
        return {path: tree}
    found: dict[str, dict] = {}
    for name, part in tree.items():
        found |= _holders(part, of, f"{path}/{name}".lstrip("/")) if isinstance(part, dict) else {}
    return found
