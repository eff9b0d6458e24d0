"""What a call gives back: the output types of diffusers' video pipelines, and 8-bit frames as files hold them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from vidrd_model.errors import ModelError

OutputType = Literal["np", "pil", "pt", "latent", "uint8"]
"""`np` float32 (b, n, h, w, 3) in 0..1; `pil` a list of images for each video; `pt` a float32 tensor (b, n, 3, h, w)
in 0..1 on the model's device; `latent` the clips' latents b c n h w, not decoded; `uint8` (b, n, h, w, 3) in 0..255."""

OUTPUT_TYPES = ("np", "pil", "pt", "latent", "uint8")


def check_output_type(output_type: str, known: Sequence[str] = OUTPUT_TYPES) -> None:
    """ModelError for an unknown one."""
    if output_type not in known:
        raise ModelError(f"output_type must be one of {', '.join(known)}, not {output_type!r}")


def in_depth_of(frames_bnhwc: torch.Tensor, output_type: OutputType) -> torch.Tensor:
    """Frames in 0..1 in the depth in which they are joined: 8 bits for files and pictures, else as they are."""
    if output_type in ("uint8", "pil"):
        return (frames_bnhwc * 255).round().to(torch.uint8)
    return frames_bnhwc


def present(frames_bnhwc: torch.Tensor, output_type: OutputType) -> Any:
    """Frames of that depth as the output type says."""
    if output_type == "pt":
        return frames_bnhwc.permute(0, 1, 4, 2, 3).contiguous()
    arrays_bnhwc = frames_bnhwc.cpu().numpy()
    if output_type == "pil":
        return [[Image.fromarray(frame_hwc) for frame_hwc in video_nhwc] for video_nhwc in arrays_bnhwc]
    return arrays_bnhwc


def whole_videos(parts: Sequence[Any], output_type: OutputType, num_videos: int) -> Any:
    """The parts of a batch of videos, one after the other; without any, videos of no frame."""
    if output_type == "pil":
        return [[image for part in parts for image in part[video]] for video in range(num_videos)]
    if output_type == "latent":
        return torch.cat(list(parts), dim=2) if parts else torch.empty(num_videos, 0, 0, 0, 0)
    if output_type == "pt":
        return torch.cat(list(parts), dim=1) if parts else torch.empty(num_videos, 0, 3, 0, 0)
    depth = np.uint8 if output_type == "uint8" else np.float32
    return np.concatenate(list(parts), axis=1) if parts else np.empty((num_videos, 0, 0, 0, 3), depth)
