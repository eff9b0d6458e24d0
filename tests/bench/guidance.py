"""Guidance in some of the steps: what of the embedded model's videos stays right, and the time that is saved."""

from __future__ import annotations

import time
from statistics import mean

import numpy as np

from tests.bench.tables import print_head, print_row

VIDEOS, CLIPS, BATCH = 16, 2, 8
INTERVALS = ((0.0, 1.0), (0.0, 0.8), (0.0, 0.6), (0.0, 0.4), (0.0, 0.2), (0.2, 1.0), (0.2, 0.8))


def main() -> None:
    """Prints a row per interval, the first of which is guidance in all steps."""
    from flows.profile import load_profile
    from tasks.tiny.world.drawing import random_scene
    from tests.frame_reading import read_clip
    from vidrd_model import VidRDPipeline
    from vidrd_model.metrics.seams import seam_ratios

    profile = load_profile("tiny")
    settings = profile.sampling.pipeline_arguments() | {"seam": "keep", "output_type": "uint8"}
    pipe = VidRDPipeline.from_pretrained(profile.model)
    pipe.set_progress_bar_config(disable=True)
    rng = np.random.default_rng(404)
    scenes = [random_scene(rng) for _ in range(VIDEOS)]
    steps, n, m = (settings[name] for name in ("num_inference_steps", "num_frames", "prompt_frames"))
    print(f"{VIDEOS} videos of {CLIPS} clips, {steps} steps, guidance {settings['guidance_scale']:g}.\n")
    print_head("guided steps", "colour", "shape", "direction", "seam, usual steps", "CPU time")
    whole_s = 0.0
    for start, stop in INTERVALS:
        started_s, videos = time.process_time(), []
        for first in range(0, VIDEOS, BATCH):
            prompts = [scene.caption for scene in scenes[first : first + BATCH]]
            seeds = list(range(first, first + BATCH))
            asked = settings | {"guidance_start": start, "guidance_stop": stop}
            videos += list(pipe(prompts, CLIPS, seed=seeds, **asked).frames)
        taken_s = time.process_time() - started_s
        whole_s = whole_s or taken_s
        read = [read_clip(frames) for frames in videos]
        right = [
            sum(getattr(one, what) == getattr(scene, what) for one, scene in zip(read, scenes, strict=True))
            for what in ("colour", "shape", "direction")
        ]
        seams = [ratios.boundary for frames in videos if (ratios := seam_ratios(frames, n, m)) is not None]
        print_row(
            f"{start:g} to {stop:g}",
            *(f"{count} of {VIDEOS}" for count in right),
            f"{mean(seams):.2f}",
            f"{taken_s / whole_s:.2f}",
        )


if __name__ == "__main__":
    main()
