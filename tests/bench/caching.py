"""Deep features that are kept from step to step (`cache_interval`), beside as many fewer steps: fidelity and time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tests.bench.tables import print_head, print_row

if TYPE_CHECKING:
    from tasks.tiny.world.drawing import Scene
    from vidrd_model import VidRDPipeline

VIDEOS, CLIPS, BATCH = 16, 2, 8


def main() -> None:
    """Prints a row per way to compute less; the first is every step whole."""
    from flows.profile import load_profile
    from tasks.tiny.world.drawing import random_scene
    from vidrd_model import VidRDPipeline

    profile = load_profile("tiny")
    pipe = VidRDPipeline.from_pretrained(profile.model)
    pipe.set_progress_bar_config(disable=True)
    settings = profile.sampling.pipeline_arguments() | {"seam": "keep", "output_type": "latent"}
    steps = settings["num_inference_steps"]
    rng = np.random.default_rng(404)
    scenes = [random_scene(rng) for _ in range(VIDEOS)]
    print(f"{VIDEOS} videos of {CLIPS} clips; {steps} steps where nothing else is said.\n")
    print_head("steps", "PSNR to the first, dB: median, least", "colour and shape", "direction", "CPU time")
    whole, whole_s = _sampled(pipe, scenes, settings)
    _print("every step whole", whole, whole, scenes, 1.0)
    for every in (2, 3, 4):
        videos, taken_s = _sampled(pipe, scenes, settings | {"cache_interval": every})
        _print(f"one in {every} whole", videos, whole, scenes, taken_s / whole_s)
    for fewer in (steps // 2, steps // 3):
        videos, taken_s = _sampled(pipe, scenes, settings | {"num_inference_steps": fewer})
        _print(f"{fewer} steps", videos, whole, scenes, taken_s / whole_s)


def _sampled(
    pipe: VidRDPipeline, scenes: list[Scene], settings: dict[str, Any]
) -> tuple[list[np.ndarray], float]:
    """The videos' frames as bytes, and the processor seconds of their sampling, without decoding."""
    taken_s, videos = 0.0, []
    for first in range(0, VIDEOS, BATCH):
        prompts, seeds = [scene.caption for scene in scenes[first:][:BATCH]], [*range(first, first + BATCH)]
        started_s = time.process_time()
        latents_bcnhw = pipe(prompts, CLIPS, seed=seeds, **settings).frames
        taken_s += time.process_time() - started_s
        with torch.no_grad():
            frames_bnhwc = pipe.decode_latents(torch.as_tensor(latents_bcnhw))
        videos += list((255 * frames_bnhwc).round().byte().numpy())
    return videos, taken_s


def _print(
    name: str, videos: list[np.ndarray], whole: list[np.ndarray], scenes: list[Scene], time_share: float
) -> None:
    from tests.frame_reading import read_clip
    from vidrd_model.metrics import psnr_db

    read = [read_clip(frames) for frames in videos]
    kept = sum(
        (r.colour, r.shape) == (scene.colour, scene.shape) for r, scene in zip(read, scenes, strict=True)
    )
    right = sum(r.direction == scene.direction for r, scene in zip(read, scenes, strict=True))
    fidelity = [psnr_db(video, true) for video, true in zip(videos, whole, strict=True)]
    shown = "" if videos is whole else f"{np.median(fidelity):.1f}, {min(fidelity):.1f}"
    print_row(name, shown, f"{kept} of {VIDEOS}", f"{right} of {VIDEOS}", f"{time_share:.2f}")


if __name__ == "__main__":
    main()
