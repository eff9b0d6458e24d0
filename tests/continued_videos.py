"""Clips of the tiny world that the embedded model goes on from, and what is read of the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tasks.tiny.world.drawing import Scene, draw_clip, random_scene
from tests.frame_reading import read_clip
from vidrd_model import VidRDPipeline
from vidrd_model.metrics.seams import seam_ratios

BATCH = 8


@dataclass(frozen=True)
class Continued:
    """One video: what it is of, its clips, and the figures of the inversion where there was one."""

    scene: Scene
    frames_nhwc: np.ndarray
    new_nhwc: np.ndarray
    round_trip: float | None = None
    noise_mean: float | None = None
    noise_deviation: float | None = None

    @property
    def kept(self) -> bool:
        """Whether each new clip shows the colour and the shape."""
        n = len(self.frames_nhwc) - len(self.new_nhwc)
        readings = [read_clip(self.new_nhwc[start : start + n]) for start in range(0, len(self.new_nhwc), n)]
        return {(one.colour, one.shape) for one in readings} == {(self.scene.colour, self.scene.shape)}

    def seams(self, prompt_frames: int) -> dict[str, float]:
        """The largest step at a seam over the usual one: in grey levels, and in the place of the object."""
        n = len(self.frames_nhwc) - len(self.new_nhwc)
        ratios = seam_ratios(self.frames_nhwc, n, prompt_frames)
        assert ratios is not None
        steps_px = read_clip(self.frames_nhwc).steps_px
        usual_px = np.nanmedian(read_clip(self.frames_nhwc[:n]).steps_px)
        starts = np.arange(n, len(self.frames_nhwc), n)
        return {
            "boundary": ratios.boundary,
            "free": ratios.guided_to_free,
            "boundary, place": float(np.nanmax(steps_px[starts - 1]) / usual_px),
            "free, place": float(np.nanmax(steps_px[starts + prompt_frames - 1]) / usual_px),
        }


def scenes_and_clips(seed: int, count: int, num_frames: int) -> tuple[list[Scene], np.ndarray]:
    """Scenes and a drawn clip of each, uint8 (count, n, h, w, 3)."""
    rng = np.random.default_rng(seed)
    scenes = [random_scene(rng) for _ in range(count)]
    return scenes, np.stack([draw_clip(scene, rng, num_frames) for scene in scenes])


def continue_clips(
    pipe: VidRDPipeline,
    scenes: list[Scene],
    clips_bnhwc: np.ndarray,
    num_clips: int,
    settings: dict[str, Any],
) -> list[Continued]:
    """Goes on from each clip with its caption, video k with seed k; every frame is kept."""
    videos = []
    asked = settings | {"seam": "keep", "output_type": "uint8"}
    for start in range(0, len(scenes), BATCH):
        part = slice(start, start + BATCH)
        seeds = list(range(start, start + len(scenes[part])))
        prompts = [scene.caption for scene in scenes[part]]
        done = pipe.continue_video(clips_bnhwc[part], prompts, num_clips, seed=seeds, **asked)
        figures = (done.inversion.round_trips, done.inversion.noise_means, done.inversion.noise_deviations)
        for scene, given, new, *of_inversion in zip(
            scenes[part], clips_bnhwc[part], done.frames, *figures, strict=True
        ):
            videos.append(Continued(scene, np.concatenate([given, new]), new, *of_inversion))
    return videos


def own_videos(
    pipe: VidRDPipeline, scenes: list[Scene], num_clips: int, settings: dict[str, Any]
) -> list[Continued]:
    """The pipeline's own videos of the same scenes and seeds, with one clip more, after which the others are new."""
    videos = []
    asked = settings | {"seam": "keep", "output_type": "uint8"}
    for start in range(0, len(scenes), BATCH):
        part = scenes[start : start + BATCH]
        seeds = list(range(start, start + len(part)))
        frames_bnhwc = pipe([scene.caption for scene in part], 1 + num_clips, seed=seeds, **asked).frames
        n = frames_bnhwc.shape[1] // (1 + num_clips)
        videos += [
            Continued(scene, video, video[n:]) for scene, video in zip(part, frames_bnhwc, strict=True)
        ]
    return videos


def reconstructed(pipe: VidRDPipeline, clips_bnhwc: np.ndarray) -> np.ndarray:
    """What the VAE makes of clips, uint8 (b, n, h, w, 3): what goes on from pixels can be no nearer to them."""
    from vidrd_model.continuing import encoded

    with torch.no_grad():
        parts = [
            pipe.decode_latents(encoded(pipe, torch.from_numpy(clip[None]).float() / 255))
            for clip in clips_bnhwc
        ]
    return (torch.cat(parts) * 255).round().to(torch.uint8).numpy()
