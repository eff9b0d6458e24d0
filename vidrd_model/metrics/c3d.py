"""The C3D network behind the inception score of UCF-101: clips in, probabilities of its 101 classes out.

Tran et al., "Learning Spatiotemporal Features with 3D Convolutional Networks", arXiv 1412.0767, trained on Sports-1M
and fine-tuned on UCF-101; the inception score of videos is taken over it since TGAN (arXiv 1611.06624) and TGAN2
(arXiv 1811.09245). Its weights come from the user: there is no file that everybody has, so the digest of the one
that was used is kept beside the score.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidrd_model.errors import ModelError
from vidrd_model.weights_file import read_weights

CLASSES = 101
FRAMES = 16
SIDE = 112
CONVOLUTIONS = {  # channels in and out, all 3x3x3
    "conv1a": (3, 64),
    "conv2a": (64, 128),
    "conv3a": (128, 256),
    "conv3b": (256, 256),
    "conv4a": (256, 512),
    "conv4b": (512, 512),
    "conv5a": (512, 512),
    "conv5b": (512, 512),
}
LINEAR = {"fc6": (512 * 4 * 4, 4096), "fc7": (4096, 4096), "fc8": (4096, CLASSES)}
POOLED_AFTER = ("conv1a", "conv2a", "conv3b", "conv4b", "conv5b")

MEAN_BGR = (90.25164795, 97.65701294, 101.4083252)
"""The channels' means of the frames C3D was trained on, as TGAN2's code names them; grey levels."""

GREY_SCALE = 128 / 127.5  # TGAN2 feeds 128 (u / 127.5 - 1) + 128 for a grey level u

# Files that call the first two layers so come from torch ports, which pad the last pool instead of rounding up.
_PORTED_NAMES = {"conv1": "conv1a", "conv2": "conv2a"}


class C3D(nn.Module):
    """C3D, from a state dict.

    sha256: the digest of the weights file. convention: what becomes of the pixels, in words.
    """

    def __init__(self, network: nn.Module, sha256: str, convention: str) -> None:
        super().__init__()
        self.network, self.sha256, self.convention = network, sha256, convention

    @classmethod
    def from_weights(cls, path: str | Path) -> Self:
        """The network from a state dict in a .safetensors, .pt or .pth file.

        A state dict names its layers as Caffe does (conv1a, conv2a, conv3a, ...), as the torch ports do (conv1, conv2,
        conv3a, ...), or features.N and classifier.N in their order; an entry `mean`, (3,) or (3, 16, 112, 112) in BGR,
        replaces `MEAN_BGR`. Its clips are treated as by TGAN2: every frame squeezed to 112x112, bilinear with aligned
        corners; BGR; grey levels times 128 / 127.5; less the mean. (Caffe's own test crops 112x112 from the middle of
        128x171 instead.) The last pool rounds up for Caffe's names, which is what TGAN2's Chainer does; the torch
        ports pad it by one row and column on each side, which is other numbers for the same weights.

        TorchScript, in which StyleGAN-V's copy comes, is a program and is refused. Raises ModelError, naming the file
        and the layer, where they do not fit.
        """
        path = Path(path)
        try:
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ModelError(f"{path}: cannot read the C3D weights: {error.strerror}") from error
        network = Network(*_layers(_state_dict(path), path))
        return cls(network, sha256, "as TGAN2: squeezed to 112x112, BGR, mean subtracted")._frozen()

    def _frozen(self) -> Self:
        return self.eval().requires_grad_(False)

    @torch.inference_mode()
    def probabilities(self, clips_nthwc: np.ndarray | Tensor, batch_size: int = 4) -> Tensor:
        """Softmax rows (n, 101) float32, on the CPU, of the first 16 frames of uint8 RGB clips (n, t, h, w, 3).

        Raises ValueError on another type or shape or fewer frames.
        """
        clips_nthwc = torch.as_tensor(clips_nthwc)
        if clips_nthwc.dtype != torch.uint8 or clips_nthwc.ndim != 5 or clips_nthwc.shape[-1] != 3:
            shape = tuple(clips_nthwc.shape)
            raise ValueError(f"C3D takes uint8 clips (n, t, h, w, 3), not {clips_nthwc.dtype} {shape}")
        if clips_nthwc.shape[1] < FRAMES:
            raise ValueError(f"C3D takes clips of {FRAMES} frames and more, not {clips_nthwc.shape[1]}")
        clips_ncthw = clips_nthwc[:, :FRAMES].permute(0, 4, 1, 2, 3)
        device = next(self.parameters()).device
        parts = clips_ncthw.split(batch_size)
        return torch.cat([self.network(part.to(device).contiguous()).float().cpu() for part in parts])


class Network(nn.Module):
    """The layers, with what TGAN2 does to the pixels before them: uint8 RGB (b, 3, 16, h, w) to softmax (b, 101)."""

    mean_cthw: Tensor

    def __init__(self, state: Mapping[str, Tensor], mean_cthw: Tensor, padded: bool) -> None:
        super().__init__()
        # Made without values, which the state dict brings: 78 million random numbers take a second.
        with torch.device("meta"):
            self.convolutions = nn.ModuleDict(
                {name: nn.Conv3d(*widths, 3, padding=1) for name, widths in CONVOLUTIONS.items()}
            )
            self.linear = nn.ModuleDict({name: nn.Linear(*widths) for name, widths in LINEAR.items()})
        for layers in (self.convolutions, self.linear):
            for name, layer in layers.items():
                layer.load_state_dict({p: state[f"{name}.{p}"] for p in ("weight", "bias")}, assign=True)
        self.register_buffer("mean_cthw", mean_cthw)
        self.padded = padded

    def forward(self, clips_bcthw: Tensor) -> Tensor:
        x = self._prepare(clips_bcthw)
        for name, layer in self.convolutions.items():
            x = layer(x).relu_()
            if name in POOLED_AFTER:
                x = self._pool(x, name)
        x = x.flatten(1)
        for name, layer in self.linear.items():
            x = layer(x) if name == "fc8" else layer(x).relu_()
        return x.softmax(dim=1)

    def _prepare(self, clips_bcthw: Tensor) -> Tensor:
        batch = len(clips_bcthw)
        frames_bchw = clips_bcthw.movedim(2, 1).flatten(0, 1).flip(1).to(self.mean_cthw.dtype) * GREY_SCALE
        frames_bchw = F.interpolate(frames_bchw, (SIDE, SIDE), mode="bilinear", align_corners=True)
        return frames_bchw.unflatten(0, (batch, FRAMES)).movedim(1, 2) - self.mean_cthw

    def _pool(self, x_bcthw: Tensor, after: str) -> Tensor:
        if after == "conv1a":
            return F.max_pool3d(x_bcthw, (1, 2, 2))
        if after == "conv5b" and self.padded:
            return F.max_pool3d(x_bcthw, 2, padding=(0, 1, 1))
        return F.max_pool3d(x_bcthw, 2, ceil_mode=True)  # 7 rows make 4 after conv5b; before, nothing is odd


def _state_dict(path: Path) -> dict[str, Tensor]:
    state = read_weights(path)
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelError(f"{path}: not a C3D state dict: it holds more than named tensors")
    return {str(name).removeprefix("module."): value for name, value in state.items()}


def _layers(state: dict[str, Tensor], path: Path) -> tuple[dict[str, Tensor], Tensor, bool]:
    """The layers under Caffe's names, the mean, and whether the last pool is padded."""
    mean = _mean(state.pop("mean", None), path)
    in_order = any(name.startswith("features.") for name in state)
    ported = in_order or any(name.split(".")[0] in _PORTED_NAMES for name in state)
    state = _ordered(state, path) if in_order else {_caffe_name(name): t for name, t in state.items()}
    expected: dict[str, tuple[int, ...]] = {
        f"{name}.weight": (out, into, 3, 3, 3) for name, (into, out) in CONVOLUTIONS.items()
    }
    expected |= {f"{name}.weight": (out, into) for name, (into, out) in LINEAR.items()}
    expected |= {name.replace(".weight", ".bias"): shape[:1] for name, shape in expected.items()}
    for name, shape in expected.items():
        if name not in state:
            raise ModelError(f"{path}: not the C3D weights: layer {name} is missing")
        if tuple(state[name].shape) != shape:
            raise ModelError(
                f"{path}: not the C3D weights: {name} is {tuple(state[name].shape)}, not {shape}"
            )
    if unknown := sorted(set(state) - set(expected)):
        raise ModelError(f"{path}: not the C3D weights: C3D has no layer {unknown[0]}")
    return {name: tensor.float() for name, tensor in state.items()}, mean, ported


def _caffe_name(name: str) -> str:
    layer, _, parameter = name.partition(".")
    return f"{_PORTED_NAMES.get(layer, layer)}.{parameter}"


def _ordered(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The layers of features.N.weight, features.N.bias, then classifier.N..., by N."""
    parts = [name.split(".") for name in state]
    if any(len(part) != 3 or not part[1].isdecimal() for part in parts):
        raise ModelError(
            f"{path}: not the C3D weights: layers are called neither features.N nor classifier.N"
        )
    layers = sorted({(part[0] != "features", part[0], int(part[1])) for part in parts})
    names = [*CONVOLUTIONS, *LINEAR]
    if len(layers) != len(names):
        raise ModelError(f"{path}: not the C3D weights: {len(layers)} layers, not {len(names)}")
    caffe = {f"{part}.{n}": name for (_, part, n), name in zip(layers, names, strict=True)}
    return {f"{caffe[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}": t for name, t in state.items()}


def _mean(mean: Tensor | None, path: Path) -> Tensor:
    if mean is None:
        mean = torch.tensor(MEAN_BGR)
    if tuple(mean.shape) not in {(3,), (3, FRAMES, SIDE, SIDE)}:
        raise ModelError(
            f"{path}: not the C3D weights: mean is {tuple(mean.shape)}, not (3,) or (3, 16, 112, 112)"
        )
    return mean.float().reshape(3, *((1, 1, 1) if mean.ndim == 1 else mean.shape[1:]))
