"""Loops of the tiny world and videos whose colour changes at a frame, and what is read of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tasks.tiny.world.drawing import COLOURS, Scene, random_scene
from tests.frame_reading import MIN_AREA_PX, object_mask, read_clip
from vidrd_model import VidRDPipeline
from vidrd_model.metrics.seams import frame_steps

BATCH = 8


@dataclass(frozen=True)
class Ring:
    """A video as it is played again and again: the clips that its frames come from, all shown."""

    scene: Scene
    frames_nhwc: np.ndarray
    num_frames: int

    @property
    def kept(self) -> bool:
        """Whether each clip shows the colour and the shape."""
        n = self.num_frames
        readings = [read_clip(self.frames_nhwc[at : at + n]) for at in range(0, len(self.frames_nhwc), n)]
        return {(one.colour, one.shape) for one in readings} == {(self.scene.colour, self.scene.shape)}

    @property
    def closing_step(self) -> float:
        """The step from the last frame to the first over the usual one, where no clip's first frame comes twice."""
        shown = np.concatenate(
            [
                self.frames_nhwc[at + 1 : at + self.num_frames]
                for at in range(0, len(self.frames_nhwc), self.num_frames)
            ]
        )
        steps = frame_steps(np.concatenate([shown, shown[:1]]))
        return float(steps[-1] / np.median(steps[:-1]))


def rings(
    pipe: VidRDPipeline, scenes: list[Scene], num_clips: int, settings: dict[str, Any], loop: bool = True
) -> list[Ring]:
    """A video of each scene, video k with seed k."""
    asked = settings | {"seam": "keep", "output_type": "uint8", "loop": loop}
    found = []
    for start in range(0, len(scenes), BATCH):
        part = scenes[start : start + BATCH]
        seeds = list(range(start, start + len(part)))
        videos = pipe([scene.caption for scene in part], num_clips, seed=seeds, **asked).frames
        found += [Ring(*one, num_frames=settings["num_frames"]) for one in zip(part, videos, strict=True)]
    return found


def recoloured(seed: int, count: int) -> list[tuple[Scene, Scene]]:
    """Scenes, each with the same one in another colour."""
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(count):
        scene = random_scene(rng)
        others = [name for name in COLOURS if name != scene.colour]
        pairs.append((scene, replace(scene, colour=str(rng.choice(others)))))
    return pairs


def changed_at(
    pipe: VidRDPipeline,
    pairs: list[tuple[Scene, Scene]],
    frame: int,
    num_clips: int,
    settings: dict[str, Any],
) -> list[int | None]:
    """The frame from which on each video has the second scene's colour, and before which the first one's, if any."""
    asked = settings | {"seam": "keep", "output_type": "uint8"}
    found: list[int | None] = []
    for start in range(0, len(pairs), BATCH):
        part = pairs[start : start + BATCH]
        prompts = [{0: before.caption, frame: after.caption} for before, after in part]
        seeds = list(range(start, start + len(part)))
        for (before, after), video in zip(
            part, pipe(prompts, num_clips, seed=seeds, **asked).frames, strict=True
        ):
            colours = [_colour(shown) for shown in video]
            first = colours.index(after.colour) if after.colour in colours else len(colours)
            wanted = [before.colour] * first + [after.colour] * (len(colours) - first)
            found.append(first if colours == wanted and 0 < first < len(colours) else None)
    return found


def _colour(frame_hwc: np.ndarray) -> str:
    mask = object_mask(frame_hwc)
    if mask.sum() < MIN_AREA_PX:
        return "none"
    median = np.median(frame_hwc[mask], axis=0)
    return min(COLOURS, key=lambda name: float(np.linalg.norm(median - np.array(COLOURS[name]))))
