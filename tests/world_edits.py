"""Drawn videos of the tiny world that are edited to another colour, and what is read of the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.tiny.world.drawing import Scene, draw_clip
from tests.frame_reading import read_clip
from tests.world_changes import BATCH, recoloured
from vidrd_model import VidRDPipeline
from vidrd_model.metrics.seams import frame_steps


@dataclass(frozen=True)
class Edited:
    """A drawn video, what it is to show, and what came of it, frame for frame."""

    wanted: Scene
    drawn_nhwc: np.ndarray
    edited_nhwc: np.ndarray

    @property
    def is_recoloured(self) -> bool:
        """Whether the object has the other colour, in the first frames and in the last ones."""
        half = len(self.edited_nhwc) // 2
        return {read_clip(part).colour for part in (self.edited_nhwc[:half], self.edited_nhwc[half:])} == {
            self.wanted.colour
        }

    @property
    def keeps_shape(self) -> bool:
        """Whether the object has the shape that it had."""
        return read_clip(self.edited_nhwc).shape == self.wanted.shape

    @property
    def off_px(self) -> float:
        """How far the object is from where it was drawn, in pixels, on average over the frames."""
        centres = [read_clip(frames).centres_n2 for frames in (self.drawn_nhwc, self.edited_nhwc)]
        return float(np.nanmean(np.linalg.norm(centres[0] - centres[1], axis=1)))

    def seam(self, first_new: int) -> float:
        """The step to a frame over the usual step, each as a share of what the drawn video does there."""
        steps = frame_steps(self.edited_nhwc) / np.maximum(frame_steps(self.drawn_nhwc), 1e-6)
        return float(steps[first_new - 1] / np.median(steps))


def drawn_pairs(seed: int, count: int, num_frames: int) -> list[tuple[Scene, np.ndarray]]:
    """Drawn videos, each with the scene in another colour that it is to become."""
    rng = np.random.default_rng(seed)
    return [(after, draw_clip(before, rng, num_frames)) for before, after in recoloured(seed, count)]


def edits(
    pipe: VidRDPipeline, pairs: list[tuple[Scene, np.ndarray]], strength: float, settings: dict[str, Any]
) -> list[Edited]:
    """Each video edited to its scene, video k with seed k."""
    asked = {name: value for name, value in settings.items() if name != "seam"} | {"output_type": "uint8"}
    found = []
    for start in range(0, len(pairs), BATCH):
        part = pairs[start : start + BATCH]
        scenes, drawn = [scene for scene, _ in part], np.stack([video for _, video in part])
        seeds = list(range(start, start + len(part)))
        edited = pipe(
            [scene.caption for scene in scenes], video=drawn, strength=strength, seed=seeds, **asked
        ).frames
        found += [Edited(*one) for one in zip(scenes, drawn, edited, strict=True)]
    return found
