"""The I3D network of TF-hub's `i3d-kinetics-400/1` in torch: clips in, 400 logits averaged over time out.

Carreira and Zisserman, "Quo Vadis, Action Recognition?", arXiv 1705.07750. TensorFlow's SAME padding depends
on the input size and is uneven for strides above one. Every convolution carries its BatchNorm.
On a CPU torch's own 3-D max pools and 1x1x1 convolutions cost more than a third of the time, so both are
written here as plain maxima and matrix products over channels-last memory: the same numbers, 1.7 times the
speed.
"""

from pathlib import Path
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from vidrd_model.errors import ModelError
from vidrd_model.metrics.i3d_convert import folded_state_dict, read_checkpoint

SIDE = 224
MIN_FRAMES = 9
RESIZE = "squeezed to 224x224, bilinear, half-pixel centres, no antialiasing"

# Squared feature distance of an all-black and an all-white clip, from TensorFlow's own run of the network.
REFERENCE_DISTANCE = 151.392
REFERENCE_TOLERANCE = 0.01

Size3 = tuple[int, int, int]


def _same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME padding of one axis: before and after."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class SameConv(nn.Conv3d):
    """A convolution with TensorFlow's SAME padding and a ReLU."""

    def forward(self, x_bcthw: Tensor) -> Tensor:
        axes = zip(x_bcthw.shape[2:], self.kernel_size, self.stride, strict=True)
        padding = [_same_padding(*axis) for axis in axes]
        if all(before == after for before, after in padding):  # no copy needed: the convolution pads itself
            y = F.conv3d(x_bcthw, self.weight, self.bias, self.stride, [before for before, _ in padding])
        else:
            x_bcthw = F.pad(x_bcthw, [side for pair in reversed(padding) for side in pair])
            y = F.conv3d(x_bcthw, self.weight, self.bias, self.stride)
        return y.relu_()


class PointConv(nn.Conv3d):
    """A 1x1x1 convolution and a ReLU, as one matrix product over the channels."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__(width_in, width_out, 1)

    def forward(self, x_bcthw: Tensor) -> Tensor:
        y_bthwc = F.linear(x_bcthw.movedim(1, -1), self.weight.flatten(1), self.bias)
        return y_bthwc.relu_().movedim(-1, 1)


def _max_along(x: Tensor, axis: int, kernel: int, stride: int) -> Tensor:
    """The max pool of one axis; padding is left out, which equals zeros as no input is negative."""
    size = x.shape[axis]
    before, _ = _same_padding(size, kernel, stride)
    steps = -(-size // stride)
    y = x.movedim(axis, 0)[::stride].clone(memory_format=torch.preserve_format)
    for shift in range(-before, kernel - before):
        first = -(shift // stride) if shift < 0 else 0  # the first output whose shifted input exists
        source = x.movedim(axis, 0)[first * stride + shift :: stride][: steps - first]
        if shift:
            window = y[first : first + source.shape[0]]
            torch.maximum(window, source, out=window)
    return y.movedim(0, axis)


class SamePool(nn.Module):
    """A max pool with TensorFlow's SAME padding of zeros, one axis after the other."""

    def __init__(self, kernel: Size3, stride: Size3) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x_bcthw: Tensor) -> Tensor:
        for axis, kernel, stride in zip((4, 3, 2), self.kernel[::-1], self.stride[::-1], strict=True):
            if kernel > 1:
                x_bcthw = _max_along(x_bcthw, axis, kernel, stride)
        return x_bcthw


class Mixed(nn.Module):
    """The inception block: a 1x1x1, two 3x3x3 and a pooled branch, concatenated."""

    def __init__(self, width_in: int, w0: int, w1a: int, w1b: int, w2a: int, w2b: int, w3: int) -> None:
        super().__init__()
        self.Branch_0 = _named(Conv3d_0a_1x1=PointConv(width_in, w0))
        self.Branch_1 = _named(Conv3d_0a_1x1=PointConv(width_in, w1a), Conv3d_0b_3x3=SameConv(w1a, w1b, 3))
        self.Branch_2 = _named(Conv3d_0a_1x1=PointConv(width_in, w2a), Conv3d_0b_3x3=SameConv(w2a, w2b, 3))
        self.Branch_3 = _named(
            MaxPool3d_0a_3x3=SamePool((3, 3, 3), (1, 1, 1)), Conv3d_0b_1x1=PointConv(width_in, w3)
        )

    def forward(self, x_bcthw: Tensor) -> Tensor:
        branches = (self.Branch_0, self.Branch_1, self.Branch_2, self.Branch_3)
        return torch.cat([branch(x_bcthw) for branch in branches], dim=1)


def _named(**layers: nn.Module) -> nn.Sequential:
    sequence = nn.Sequential()
    for name, layer in layers.items():
        sequence.add_module(name, layer)
    return sequence


class I3D(nn.Module):
    """I3D up to its 400 Kinetics logits; the layers are named as in DeepMind's checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = _named(
            Conv3d_1a_7x7=SameConv(3, 64, 7, 2),
            MaxPool3d_2a_3x3=SamePool((1, 3, 3), (1, 2, 2)),
            Conv3d_2b_1x1=PointConv(64, 64),
            Conv3d_2c_3x3=SameConv(64, 192, 3),
            MaxPool3d_3a_3x3=SamePool((1, 3, 3), (1, 2, 2)),
            Mixed_3b=Mixed(192, 64, 96, 128, 16, 32, 32),
            Mixed_3c=Mixed(256, 128, 128, 192, 32, 96, 64),
            MaxPool3d_4a_3x3=SamePool((3, 3, 3), (2, 2, 2)),
            Mixed_4b=Mixed(480, 192, 96, 208, 16, 48, 64),
            Mixed_4c=Mixed(512, 160, 112, 224, 24, 64, 64),
            Mixed_4d=Mixed(512, 128, 128, 256, 24, 64, 64),
            Mixed_4e=Mixed(512, 112, 144, 288, 32, 64, 64),
            Mixed_4f=Mixed(528, 256, 160, 320, 32, 128, 128),
            MaxPool3d_5a_2x2=SamePool((2, 2, 2), (2, 2, 2)),
            Mixed_5b=Mixed(832, 256, 160, 320, 32, 128, 128),
            Mixed_5c=Mixed(832, 384, 192, 384, 48, 128, 128),
            Logits=_named(
                AvgPool3d_0a_7x7=nn.AvgPool3d((2, 7, 7), stride=1),
                Conv3d_0c_1x1=nn.Conv3d(1024, 400, 1),
            ),
        )

    @classmethod
    def from_weights(cls, path: str | Path) -> Self:
        """The network with weights from a converted safetensors file or from DeepMind's pickle itself.

        Raises ModelError, naming the file, when it cannot be read or its layers are not I3D's.
        """
        try:
            converted = Path(path).suffix == ".safetensors"
            state = load_file(path) if converted else folded_state_dict(read_checkpoint(path))
            model = cls()
            model.layers.load_state_dict(state)
        except (OSError, SafetensorError, RuntimeError) as error:
            reason = str(error).splitlines()[-1].strip()
            raise ModelError(f"{path}: not the I3D Kinetics-400 weights: {reason}") from error
        return model.eval().requires_grad_(False).to(memory_format=torch.channels_last_3d)

    def logits(self, x_bcthw: Tensor) -> Tensor:
        """Logits (b, 400), averaged over time and before softmax, of float clips fed as they are.

        The network's own range is [-1, 1] and its own size 224x224; at least 9 frames.
        """
        if x_bcthw.ndim != 5 or x_bcthw.shape[2] < MIN_FRAMES:
            raise ValueError(f"I3D takes (b, 3, t, h, w) with t >= {MIN_FRAMES}, not {tuple(x_bcthw.shape)}")
        x_bcthw = x_bcthw.contiguous(memory_format=torch.channels_last_3d)
        return self.layers(x_bcthw).mean(dim=(2, 3, 4))

    @torch.inference_mode()
    def forward(self, clips_nthwc: np.ndarray | Tensor, batch_size: int = 2) -> Tensor:
        """Features (n, 400) float32, on the CPU, of uint8 RGB clips (n, t, h, w, 3) of any frame size.

        Two clips at a time are the fastest on a CPU. Raises ValueError on another type or shape.
        """
        clips_nthwc = torch.as_tensor(clips_nthwc)
        if clips_nthwc.dtype != torch.uint8 or clips_nthwc.ndim != 5 or clips_nthwc.shape[-1] != 3:
            shape = tuple(clips_nthwc.shape)
            raise ValueError(f"I3D takes uint8 clips (n, t, h, w, 3), not {clips_nthwc.dtype} {shape}")
        return torch.cat([self.logits(self._prepare(part)).cpu() for part in clips_nthwc.split(batch_size)])

    def _prepare(self, clips_nthwc: Tensor) -> Tensor:
        n, t, h, w, _ = clips_nthwc.shape
        device = next(self.parameters()).device
        frames_bchw = clips_nthwc.to(device).flatten(0, 1).movedim(-1, 1).float()
        if (h, w) != (SIDE, SIDE):
            frames_bchw = F.interpolate(frames_bchw, (SIDE, SIDE), mode="bilinear", align_corners=False)
        return (frames_bchw * (2 / 255) - 1).unflatten(0, (n, t)).movedim(1, 2)


def reference_distance(model: I3D) -> float:
    """Squared feature distance of 30 black and 30 white frames of 64x64: 151.392 with the right weights."""
    black = np.zeros((1, 30, 64, 64, 3), np.uint8)
    features_nd = model(np.concatenate([black, black + 255])).double()
    return float((features_nd[0] - features_nd[1]).square().sum())


def check_reference(model: I3D) -> float:
    """The distance above; ModelError when it is off, for then every FVD would be wrong."""
    distance = reference_distance(model)
    if not abs(distance - REFERENCE_DISTANCE) <= REFERENCE_TOLERANCE:
        raise ModelError(
            f"I3D weights fail their check: black against white is {distance:.4f}, not {REFERENCE_DISTANCE}; "
            "fetch them again with `vidrd weights fetch i3d`"
        )
    return distance
