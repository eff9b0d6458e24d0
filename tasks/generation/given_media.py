"""A video or a picture of the user's as a model takes it: at its frame rate and in its size, the end first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tasks.clips.collecting import frames_at
from tasks.clips.images import read_image
from tasks.clips.interlacing import Scan, scan_of
from tasks.clips.reading import frame_times
from tasks.clips.sampling import TIME_TOLERANCE_S
from tasks.errors import RequestError
from tasks.generation.settings import SamplingSettings


@dataclass(frozen=True)
class GivenVideo:
    """A video seen at a frame rate and in a size in pixels; its last instant is that of its last frame."""

    path: Path
    scan: Scan | None
    instants_s: np.ndarray
    num_frames: int
    width: int
    height: int

    @classmethod
    def open(cls, path: Path, model_dir: Path, sampling: SamplingSettings, field: str) -> GivenVideo:
        """Looks at its times; ItemError when it cannot be read, RequestError when it is shorter than a clip.

        `field` is what the request calls it.
        """
        scan = scan_of(path)
        times_s = frame_times(path, scan)
        length_s = times_s[-1] - times_s[0] if times_s else 0.0
        count = int((length_s + TIME_TOLERANCE_S) * sampling.fps) + 1
        n = sampling.num_frames
        if not times_s or count < n:
            raise RequestError(
                f"{field}: {path} is too short: {length_s:.2f} s; {n} frames at {sampling.fps:g} a second span "
                f"{(n - 1) / sampling.fps:.2f} s"
            )
        instants_s = np.maximum(times_s[-1] - np.arange(count)[::-1] / sampling.fps, times_s[0])
        return cls(path, scan, instants_s, n, *clip_size(model_dir, sampling))

    @property
    def num_clips_before(self) -> int:
        """How many parts `before_last_clip` gives."""
        return -(-len(self.instants_s) // self.num_frames) - 1

    def last_clip(self) -> np.ndarray:
        """The frames of the last clip, uint8 (n, h, w, 3)."""
        (clip_nhwc,) = self._frames([self.instants_s[-self.num_frames :]])
        return clip_nhwc

    def before_last_clip(self) -> Iterator[np.ndarray]:
        """All frames before it, clip by clip, of which the first may be shorter."""
        ends = range(len(self.instants_s) - self.num_frames, 0, -self.num_frames)
        parts = [self.instants_s[max(end - self.num_frames, 0) : end] for end in reversed(ends)]
        if parts:
            yield from self._frames(parts)

    def all_frames(self) -> np.ndarray:
        """All frames, uint8 (n, h, w, 3)."""
        (frames_nhwc,) = self._frames([self.instants_s])
        return frames_nhwc

    def _frames(self, parts_instants_s: list[np.ndarray]) -> Iterator[np.ndarray]:
        for taken in frames_at(str(self.path), parts_instants_s, self.width, self.height, self.scan):
            yield taken.frames_nhwc


def given_picture(path: Path) -> np.ndarray:
    """A picture as a video of one frame, uint8 (1, h, w, 3), upright; ItemError when it cannot be read."""
    return np.asarray(read_image(path).picture)[None]


def clip_size(model_dir: Path, sampling: SamplingSettings) -> tuple[int, int]:
    """Width and height in pixels of the clips: as the settings say, else the model's own."""
    if sampling.width is not None and sampling.height is not None:
        return sampling.width, sampling.height
    unet, vae = (
        json.loads((model_dir / part / "config.json").read_text("utf-8")) for part in ("unet", "vae")
    )
    if unet.get("sample_size") is None:
        raise RequestError("size: the model's config names none; give one, such as --size 256x256")
    own = unet["sample_size"] * 2 ** (len(vae["block_out_channels"]) - 1)
    return sampling.width or own, sampling.height or own
