"""One video whose clips workers of Ray share: seconds from the first window that is there to the last."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from tests.bench.tables import print_head, print_row

CLIPS = 24
STEPS = 10
WORKERS = (1, 2)


def main() -> None:
    """Prints a row for each number of workers."""
    from flows.profile import load_profile
    from tasks.cluster import ensure_ray, shutdown_ray
    from tasks.generation.asked import AskedVideos

    print(
        f"One video of {CLIPS} clips of the tiny profile's model, {STEPS} steps, decoded; workers of Ray with a thread "
        "each. Loading the model and each worker's first clip are not counted.\n"
    )
    print_head("workers", "seconds a clip", "times as fast", "largest difference in grey levels")
    profile = load_profile("tiny")
    sampling = profile.sampling.model_copy(update={"num_inference_steps": STEPS, "seam": "keep"})
    asked = AskedVideos(Path(profile.model), ["a red circle moving right"], [7], CLIPS, sampling, "cpu")
    ensure_ray()
    try:
        found = [_measured(asked, workers) for workers in WORKERS]
    finally:
        shutdown_ray()
    (slowest_s, wanted), *_ = found
    for workers, (seconds, frames) in zip(WORKERS, found, strict=True):
        apart = np.abs(frames.astype(int) - wanted).max()
        print_row(workers, f"{seconds:.2f} s", f"{slowest_s / seconds:.2f}", apart)


def _measured(asked: object, workers: int) -> tuple[float, np.ndarray]:
    """Seconds a clip after the first window, and all frames."""
    from tasks.generation.video_on_workers import stream_on_workers

    clips, begun_s = [], 0.0
    for _, frames_nhwc in stream_on_workers(asked, workers):  # type: ignore[arg-type]
        if frames_nhwc is None:
            continue
        clips.append(frames_nhwc)
        if len(clips) == workers:
            begun_s = time.perf_counter()
    return (time.perf_counter() - begun_s) / (CLIPS - workers), np.concatenate(clips)
