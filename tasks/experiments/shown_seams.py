"""What a viewer sees where clips were joined: a jump, a pause, frames that come again.

Ways of joining show unlike numbers of frames, so each has its seams in places of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tasks.evaluation.measure_samples import SampledVideos
from tasks.evaluation.networks import Networks
from tasks.evaluation.workers import MeasuringPool
from tasks.generation.settings import SamplingSettings
from tasks.progress import OnProgress
from vidrd_model.metrics import frame_steps


def seam_steps(seam: str, num_frames: int, prompt_frames: int, num_clips: int) -> list[int]:
    """The steps (step k leads from frame k to k + 1) of a video at which the source of its frames changes.

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


def seam_figures(frames_thwc: np.ndarray, seams: list[int], num_frames: int) -> dict[str, float]:
    """The figures of one video of at least two clips.

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
    """The figures of every video by name (n,); what `folder` has of these videos is not sampled again."""
    kept = folder / f"{videos.digest()}.npz"
    if not kept.is_file():
        size = videos.sampling.prompts_per_batch
        batches = {
            start: (videos, range(start, min(start + size, len(videos.prompts))))
            for start in range(0, len(videos.prompts), size)
        }
        found: dict[int, list[dict[str, float]]] = {}
        for start, figures in pool.run(_sample_and_look, batches):
            found[start] = figures
            if on_progress is not None:
                done = sum(map(len, found.values()))
                on_progress(done, len(videos.prompts), "videos sampled and measured")
        rows = [row for start in sorted(found) for row in found[start]]
        folder.mkdir(parents=True, exist_ok=True)
        partial = kept.with_suffix(".partial.npz")
        columns: dict[str, Any] = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        np.savez(partial, **columns)
        partial.replace(kept)
    with np.load(kept, allow_pickle=False) as arrays:
        return dict(arrays)


def _sample_and_look(videos: SampledVideos, rows: range, _: Networks) -> list[dict[str, float]]:
    from tasks.generation.generate import stream_batch

    sampling: SamplingSettings = videos.sampling
    prompts, seeds = [videos.prompts[i] for i in rows], [videos.seeds[i] for i in rows]
    clips = stream_batch(videos.model_dir, prompts, seeds, videos.num_clips, sampling)
    frames_bthwc = np.concatenate(list(clips), axis=1)
    seams = seam_steps(sampling.seam or "keep", sampling.num_frames, sampling.prompt_frames, videos.num_clips)
    return [seam_figures(frames_thwc, seams, sampling.num_frames) for frames_thwc in frames_bthwc]
