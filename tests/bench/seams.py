"""What the ways of joining clips show: the largest step where clips meet, and how often a video goes back."""

from __future__ import annotations

from typing import Any

import numpy as np

from tasks.markdown import Code
from tests.bench.tables import print_head, print_row

VIDEOS, CLIPS = 8, 3


def main() -> None:
    """Prints a row per way, over a few videos of the tiny profile."""
    from flows.profile import load_profile
    from tasks.tiny.world.drawing import random_scene
    from vidrd_model import VidRDPipeline
    from vidrd_model.frame_times import SEAMS

    profile = load_profile("tiny")
    rng = np.random.default_rng(11)
    prompts = [random_scene(rng).caption for _ in range(VIDEOS)]
    pipe = VidRDPipeline.from_pretrained(profile.model)
    pipe.set_progress_bar_config(disable=True)
    arguments = profile.sampling.pipeline_arguments()
    print(
        f"{VIDEOS} videos of {CLIPS} clips of the tiny profile; steps are in grey levels over the usual step.\n"
    )
    print_head("seam", "frames", "largest step at a seam", "smallest", "repeated frames")
    for seam in SEAMS:
        asked = arguments | {"seam": seam, "output_type": "uint8"}
        parts = list(pipe.stream(prompts, CLIPS, seed=list(range(VIDEOS)), **asked))
        print_row(Code(seam), *_row(parts))


def _row(parts_bnhwc: list[np.ndarray]) -> list[str]:
    from vidrd_model.metrics.seams import frame_steps

    videos = np.concatenate(parts_bnhwc, axis=1)
    seams = np.cumsum([part.shape[1] for part in parts_bnhwc])[:-1] - 1
    largest, smallest, repeated = [], [], []
    for video in videos:
        steps = frame_steps(video)
        at_seams = steps[seams[: CLIPS - 1]] / np.median(np.delete(steps, seams))
        largest.append(at_seams.max())
        smallest.append(at_seams.min())
        repeated.append(_repeated(video))
    return [str(videos.shape[1]), f"{max(largest):.2f}", f"{min(smallest):.2f}", f"{np.mean(repeated):.1f}"]


def _repeated(video_nhwc: np.ndarray) -> int:
    """Frames that show what an earlier one showed, to less than half a grey level on average."""
    flat: Any = video_nhwc.reshape(len(video_nhwc), -1).astype(np.float32)
    return sum(any(np.abs(flat[i] - flat[j]).mean() < 0.5 for j in range(i)) for i in range(1, len(flat)))
