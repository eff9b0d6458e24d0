"""Which videos are to be sampled, by what and how: one message for this process and for Ray's workers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.generation.loras import WeightedLora
from tasks.generation.settings import SamplingSettings

if TYPE_CHECKING:
    import numpy as np

    from vidrd_model.continuing import Inversion

Prompt = str | Sequence[str] | Mapping[int, str]


@dataclass(frozen=True)
class EditedFrames:
    """A video that is edited, uint8 (n, h, w, 3), and the part of the steps that is run on it."""

    frames_nhwc: np.ndarray
    strength: float


@dataclass(frozen=True)
class AskedVideos:
    """Videos of `num_clips` clips, each with its seed and its prompt: a text, one for each clip, or by first frames.

    `device` is by default a GPU where there is one. After a given clip (`invert_frames`) a single video goes on; the
    end of a `loop` meets its beginning; a single video may be an `edited` one, whose frames say how many clips it has.
    """

    model_dir: Path
    prompts: Sequence[Prompt]
    seeds: Sequence[int]
    num_clips: int
    sampling: SamplingSettings
    device: str | None = None
    loras: tuple[WeightedLora, ...] = ()
    after: Inversion | None = None
    loop: bool = False
    edited: EditedFrames | None = None

    @property
    def total_clips(self) -> int:
        """The clips of all videos."""
        return len(self.prompts) * self.num_clips

    def call_arguments(self) -> dict[str, Any]:
        """How the pipeline is called for the videos, all in one batch."""
        arguments = self.sampling.pipeline_arguments() | {"num_clips": self.num_clips}
        if self.after is not None:
            arguments["after"] = self.after
        if self.loop:
            arguments["loop"] = True
        if self.edited is not None:
            arguments |= {"video": self.edited.frames_nhwc, "strength": self.edited.strength}
            del arguments["num_clips"], arguments["seam"]  # the given frames stand for both
        return arguments | {"prompt": list(self.prompts), "seed": list(self.seeds)}

    def batches(self) -> Iterator[tuple[int, AskedVideos]]:
        """The videos that are sampled together, with the index of their first: always as many, whoever samples them."""
        size = self.sampling.videos_at_once
        for start in range(0, len(self.prompts), size):
            batch = slice(start, start + size)
            yield start, replace(self, prompts=self.prompts[batch], seeds=self.seeds[batch])
