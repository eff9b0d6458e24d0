"""Frames that a caller gives: of any kind that Python users have, made into those of a clip of the model's size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from vidrd_model.errors import ModelError
from vidrd_model.pseudo_video import draw_motion, render


def read_videos(frames: Any, num_videos: int) -> list[torch.Tensor]:
    """The frames of each video: of one for all, or of as many in one array or tensor (b, n, h, w, 3)."""
    if getattr(frames, "ndim", None) != 5:
        return [read_frames(frames)] * num_videos
    if len(frames) not in (1, num_videos):
        raise ModelError(f"frames of {len(frames)} videos do not fit {num_videos} prompts")
    videos = [read_frames(one) for one in frames]
    return videos if len(videos) == num_videos else videos * num_videos


def count_frames(frames: Any) -> int:
    """How many frames a video has, of a kind that `read_videos` takes, or each of several; ModelError for others."""
    if getattr(frames, "ndim", None) == 5:
        return int(frames.shape[1])
    is_list = isinstance(frames, Sequence) and not isinstance(frames, str | bytes)
    return len(frames) if is_list or getattr(frames, "ndim", None) == 4 else len(read_frames(frames))


def frames_between(frames: Any, start: int, stop: int) -> Any:
    """Some of the frames, as they were given: what is read of a long video need not be all of it."""
    return frames[:, start:stop] if getattr(frames, "ndim", None) == 5 else frames[start:stop]


def read_frames(frames: Any) -> torch.Tensor:
    """Frames as float32 (n, h, w, 3) in 0..1, on the CPU; of a single picture n is 1.

    They come as float in 0..1 or uint8 in 0..255, (n, h, w, 3) or (h, w, 3), in an array, a tensor or a list, or as
    images of Pillow. Raises ModelError for others.
    """
    if isinstance(frames, Image.Image):
        frames = [frames]
    if isinstance(frames, Sequence) and frames and all(isinstance(one, Image.Image) for one in frames):
        frames = [np.asarray(one.convert("RGB")) for one in frames]
    if isinstance(frames, Sequence) and not isinstance(frames, str | bytes):
        sizes = {np.shape(one) for one in frames}
        if len(sizes) > 1:
            raise ModelError(f"frames must be of one size, not of {' and '.join(map(str, sorted(sizes)))}")
        frames = np.stack([np.asarray(one) for one in frames]) if sizes else np.empty(0)
    if isinstance(frames, torch.Tensor):
        frames = frames.detach().cpu()
        frames = (frames.float() if frames.dtype in (torch.float16, torch.bfloat16) else frames).numpy()
    if not isinstance(frames, np.ndarray):
        raise ModelError(
            f"frames must be an array, a tensor or a list of images, not {type(frames).__name__}"
        )
    return _in_unit_range(frames[None] if frames.ndim == 3 else frames)


def _in_unit_range(frames_nhwc: np.ndarray) -> torch.Tensor:
    if frames_nhwc.ndim != 4 or frames_nhwc.shape[-1] != 3 or 0 in frames_nhwc.shape:
        raise ModelError(f"frames must be (n, h, w, 3), not {frames_nhwc.shape}")
    if frames_nhwc.dtype == np.uint8:
        return torch.from_numpy(frames_nhwc.astype(np.float32) / 255)
    if not np.issubdtype(frames_nhwc.dtype, np.floating):
        raise ModelError(f"frames must be float in 0..1 or uint8 in 0..255, not {frames_nhwc.dtype}")
    lowest, highest = float(frames_nhwc.min()), float(frames_nhwc.max())
    if not (lowest >= 0 and highest <= 1):  # also when they are no numbers
        raise ModelError(
            f"frames of floats must lie in 0..1, not in {lowest:.4g}..{highest:.4g}; or give uint8"
        )
    return torch.from_numpy(frames_nhwc.astype(np.float32))


def last_clip(frames_nhwc: torch.Tensor, num_frames: int, height: int, width: int, seed: int) -> torch.Tensor:
    """The last `num_frames` frames in the clip's size in pixels; of one picture a pseudo-video, its motion seeded.

    Raises ModelError when there are fewer, but more than one.
    """
    given = len(frames_nhwc)
    if given == 1:
        return _moving(frames_nhwc[0], num_frames, height, width, seed)
    if given < num_frames:
        raise ModelError(
            f"frames: {given} are fewer than the {num_frames} of a clip; give more, or one picture"
        )
    return covering(frames_nhwc[-num_frames:], height, width)


def covering(frames_nhwc: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Scales frames until they cover a size and crops them at their centre, as the clips of a dataset are."""
    shown_height, shown_width = frames_nhwc.shape[1:3]
    if (shown_height, shown_width) == (height, width):
        return frames_nhwc
    scale = max(width / shown_width, height / shown_height)
    size = max(round(shown_height * scale), height), max(round(shown_width * scale), width)
    frames_nchw = F.interpolate(
        frames_nhwc.permute(0, 3, 1, 2), size, mode="bicubic", antialias=True, align_corners=False
    )
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    cropped_nchw = frames_nchw[:, :, top : top + height, left : left + width]
    return cropped_nchw.clamp(0, 1).permute(0, 2, 3, 1)


def _moving(picture_hwc: torch.Tensor, num_frames: int, height: int, width: int, seed: int) -> torch.Tensor:
    picture = Image.fromarray((picture_hwc * 255).round().to(torch.uint8).numpy())
    motion = draw_motion(np.random.default_rng(seed), picture.size, (width, height))
    return torch.from_numpy(render(picture, motion, num_frames, width, height).astype(np.float32) / 255)
