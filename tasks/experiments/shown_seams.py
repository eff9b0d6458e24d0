"""Measures what a viewer sees where clips were joined: a jump, a pause, frames that come again.

Ways of joining show unlike numbers of frames, so each has its seams in places of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tasks.evaluation.measure_jobs import MeasuringJob, measure_jobs
from tasks.evaluation.measure_samples import SampledVideos
from tasks.evaluation.workers import MeasuringPool
from tasks.progress import OnProgress
from vidrd_model.metrics import frame_steps


def seam_steps(seam: str, num_frames: int, prompt_frames: int, num_clips: int) -> list[int]:
    """Returns the steps (step k leads from frame k to k + 1) of a video at which the source of its frames changes.

    That is where a later clip begins, and where its guided frames end, if they are shown.
    """
    n, m = num_frames, prompt_frames
    dropped = {"keep": 0, "drop-duplicate": min(1, m)}.get(seam, m)
    starts = [n + later * (n - dropped) for later in range(num_clips - 1)]
    if seam == "crossfade" and m:
        return [step for start in starts for step in (start - m - 1, start - 1)]
    shown = m - dropped
    ends = [start + shown - 1 for start in starts] if shown > 0 and m < n else []
    return sorted({start - 1 for start in starts} | set(ends))


def seam_metrics(frames_thwc: np.ndarray, seams: list[int], num_frames: int) -> dict[str, float]:
    """Returns the metrics of one video of at least two clips.

    `jump` and `pause`: the largest and the smallest step at a seam over the usual one, the median of all others.
    `repeated`: the share of frames that were shown before, at least two frames and at most two clips ago: those nearer
    to such a frame than half the usual step.
    """
    steps = frame_steps(frames_thwc)
    usual = max(float(np.median(np.delete(steps, seams))), 1e-3)  # a frozen video has no usual step
    frames = frames_thwc.astype(np.float32)
    again = [
        np.abs(frames[max(0, t - 2 * num_frames) : t - 1] - frames[t]).mean(axis=(1, 2, 3)).min() <= usual / 2
        for t in range(2, len(frames))
    ]
    at_seams = steps[seams] / usual
    return {
        "jump": float(at_seams.max()),
        "pause": float(at_seams.min()),
        "repeated": float(np.mean(again)),
        "frames": float(len(frames)),
    }


def measure_seams(
    videos: SampledVideos, pool: MeasuringPool, folder: Path, on_progress: OnProgress | None = None
) -> dict[str, np.ndarray]:
    """Returns the metrics of every video by name (n,); what `folder` has of these videos is not sampled again."""
    kept = folder / f"{videos.digest()}.npz"
    if not kept.is_file():
        jobs = {
            rows.start: MeasuringJob(_sample_and_measure, (videos, rows), len(rows))
            for rows in videos.batches()
        }
        found: dict[int, list[dict[str, float]]] = {}
        measure_jobs(jobs, jobs.keys(), pool, found.__setitem__, on_progress, "videos sampled and measured")
        rows = [row for start in sorted(found) for row in found[start]]
        folder.mkdir(parents=True, exist_ok=True)
        partial = kept.with_suffix(".partial.npz")
        columns: dict[str, Any] = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        np.savez(partial, **columns)
        partial.replace(kept)
    with np.load(kept, allow_pickle=False) as arrays:
        return dict(arrays)


def _sample_and_measure(videos: SampledVideos, rows: range) -> list[dict[str, float]]:
    sampling = videos.sampling
    seams = seam_steps(sampling.seam, sampling.num_frames, sampling.prompt_frames, videos.num_clips)
    return [seam_metrics(frames_thwc, seams, sampling.num_frames) for frames_thwc in videos.sample(rows)]
