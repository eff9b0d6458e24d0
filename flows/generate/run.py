"""Samples the videos of a request, writes them while they grow, and says what makes them again.

Of the two ways to sample, in this process or on Ray's workers, only the one that is used is imported: the first loads
the model's libraries here, the second does not.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from math import ceil
from typing import TYPE_CHECKING, Any

from flows.evaluate.report import sampled_rows
from flows.generate.request import GenerateRequest, VideoJob
from flows.runs.artifacts import show_markdown
from flows.runs.progress import stage_progress
from flows.terminal import tell
from storage.local.visible import visible
from storage.registry.names import CHAMPION_REF
from tasks import markdown
from tasks.cluster_checks import joins_cluster
from tasks.generation.video_file import GeneratedVideo, VideoFile

if TYPE_CHECKING:
    import numpy as np

    from tasks.generation.unread import UnreadText
    from tasks.progress import OnProgress


def run(request: GenerateRequest) -> dict[str, Any]:
    """Writes every video, its contact sheet and what the result says of them."""
    started_s = time.monotonic()
    if request.is_before_champion:
        tell(f"no {CHAMPION_REF} yet: using {request.model.ref}; retrain, evaluate and promote make one")
    on_ray = needs_ray(request)
    if on_ray:
        from tasks.cluster import ensure_ray

        ensure_ray()
    unread = _tell_unread(request, on_ray)
    with stage_progress("generate") as on_progress:
        videos = _write_videos(request, on_ray, on_progress)
    result = {
        "model": request.model.ref,
        "model_version": request.model.version,
        "sampling": request.sampling.as_dict(),
        "unread": unread,
        "videos": [_summary(videos[index]) for index in sorted(videos)],
        "seconds": round(time.monotonic() - started_s, 2),
    }
    if request.is_of_a_file:
        _write_manifest(request.jobs)
    show_markdown(_as_markdown(result), key="generate", description="generated videos")
    return result


def needs_ray(request: GenerateRequest) -> bool:
    """Whether several workers could share the work, or a cluster is named for it: else this process does it alone."""
    batches = ceil(len(request.jobs) / request.sampling.settings.prompts_per_batch)
    return joins_cluster() or (batches > 1 and (os.cpu_count() or 1) > 1)


def _clips(
    request: GenerateRequest, on_ray: bool, on_progress: OnProgress
) -> Iterator[tuple[int, np.ndarray | None]]:
    stream: Callable[..., Iterator[tuple[int, np.ndarray | None]]]
    if on_ray:
        from tasks.generation.on_ray import stream_videos_on_ray as stream
    else:
        from tasks.generation.generate import stream_videos as stream
    model_dir, settings = request.model.folder, request.sampling.settings
    return stream(model_dir, request.texts, request.seeds, request.clips, settings, on_progress)


def _write_videos(
    request: GenerateRequest, on_ray: bool, on_progress: OnProgress
) -> dict[int, GeneratedVideo]:
    """Writes every job's video while it is sampled; one that is not complete leaves nothing behind."""
    open_files: dict[int, VideoFile] = {}
    videos: dict[int, GeneratedVideo] = {}
    fps = request.sampling.settings.fps
    try:
        for index, frames_nhwc in _clips(request, on_ray, on_progress):
            if frames_nhwc is None:
                videos[index] = open_files[index].finish()
                del open_files[index]
                continue
            if index not in open_files:
                job = request.jobs[index]
                open_files[index] = VideoFile(job.out_mp4, job.prompt, job.seed, request.clips, fps)
            open_files[index].add(frames_nhwc)
    finally:
        for file in open_files.values():
            file.abandon()
    return videos


def _tell_unread(request: GenerateRequest, on_ray: bool) -> list[dict[str, str]]:
    """Says which words of the prompts are never read, and returns it for whoever reads the result."""
    texts = [
        ("prompt" if place == 0 else "then", text)
        for job in request.jobs
        for place, text in enumerate(job.texts)
    ]
    texts.append(("negative_prompt", request.sampling.settings.negative_prompt))
    unread = _unread(request, texts, on_ray)
    for found in unread:
        words = visible(found.lost)
        tell(
            f"[generate] warning: {found.name} is longer than the model reads; these words are lost: {words}"
        )
    return [asdict(found) for found in unread]


def _unread(request: GenerateRequest, texts: list[tuple[str, str]], on_ray: bool) -> list[UnreadText]:
    find: Callable[..., list[UnreadText]]
    if on_ray:
        from tasks.generation.on_ray import unread_texts_on_ray as find
    else:
        from tasks.generation.unread import unread_texts as find
    return find(request.model.folder, texts)


def _summary(video: GeneratedVideo) -> dict[str, Any]:
    return {
        "prompt": video.prompt,
        "seed": video.seed,
        "file": str(video.mp4),
        "contact_sheet": str(video.contact_sheet),
        "clips": video.num_clips,
        "frames": video.num_frames,
        "fps": video.fps,
    }


def _write_manifest(jobs: tuple[VideoJob, ...]) -> None:
    """Writes manifest.tsv beside the videos: the folder is then a captioned corpus and a seed list in one."""
    rows = ["file\tcaption\tseed"]
    rows += [f"{job.out_mp4.name}\t{visible(' '.join(job.prompt.split()))}\t{job.seed}" for job in jobs]
    (jobs[0].out_mp4.parent / "manifest.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def _as_markdown(result: dict[str, Any]) -> str:
    head = ("prompt", "seed", "frames", "file")
    rows = [
        (video["prompt"], video["seed"], video["frames"], markdown.Code(video["file"]))
        for video in result["videos"]
    ]
    about = f"Model {markdown.code(result['model'])}, {result['seconds']} s"
    sampled = markdown.table(("setting", "value", "from"), sampled_rows(result["sampling"]))
    return "\n".join([about, "", *markdown.table(head, rows), "", *sampled])
