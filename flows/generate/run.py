"""Samples the videos of a request, writes them while they grow, and says what makes them again.

Of the ways to sample, in this process or by workers of Ray that share the videos, or the clips of each video,
only the one that is used is imported: the first loads the model's libraries here, the others do not.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any

from flows.evaluate.report import sampled_rows
from flows.generate.going_on import GoingOn, given_result, going_on
from flows.generate.manifest import write_manifest
from flows.generate.request import GenerateRequest
from flows.model import tell_published
from flows.runs.artifacts import show_markdown
from flows.runs.progress import stage_progress
from flows.terminal import tell
from storage.local.visible import visible
from storage.registry.names import CHAMPION_REF
from tasks import markdown
from tasks.cluster_checks import joins_cluster
from tasks.generation.video_file import GeneratedVideo, VideoFile
from tasks.generation.video_kinds import contact_sheet_of

if TYPE_CHECKING:
    import numpy as np

    from tasks.generation.unread import UnreadText
    from tasks.progress import OnProgress


def run(request: GenerateRequest) -> dict[str, Any]:
    """Writes every video, its contact sheet and what the result says of them."""
    started_s = time.monotonic()
    if request.is_before_champion:
        tell(f"no {CHAMPION_REF} yet: using {request.model.ref}; retrain, evaluate and promote make one")
    tell_published(request.model.ref, request.sampling)
    if request.kept:
        tell(
            f"[generate] {len(request.kept)} of {len(request.jobs)} videos are there already, made of the same"
        )
    unread, made, start = _make(request) if request.missing else ([], {}, None)
    kept = {place: _kept_video(request, place) for place in request.kept}
    videos = {place: _summary(video, request.clips) for place, video in made.items()} | kept
    result = {
        "model": request.model.ref,
        "model_version": request.model.version,
        "sampling": request.sampling.as_dict(),
        "unread": unread,
        **given_result(request, start),
        **({} if request.edit is None else request.edit.made_of()),
        **({"loop": True} if request.loop else {}),
        "videos": [videos[place] for place in sorted(videos)],
        "seconds": round(time.monotonic() - started_s, 2),
    }
    if request.is_of_a_file:
        write_manifest(request.jobs)
    show_markdown(_as_markdown(result), key="generate", description="generated videos")
    return result


def _make(
    request: GenerateRequest,
) -> tuple[list[dict[str, str]], dict[int, GeneratedVideo], GoingOn | None]:
    """Makes the videos that are missing; returns which words are not read, the videos by their places, their start."""
    on_ray = needs_ray(request)
    if on_ray:
        from tasks.cluster import ensure_ray

        ensure_ray()
    unread = _tell_unread(request, on_ray)
    start = going_on(request, on_ray)
    edited_nhwc = None if request.edit is None else request.edit.frames()
    with stage_progress("generate") as on_progress:
        clips = _clips(request, on_ray, on_progress, start, edited_nhwc)
        return unread, _write_videos(request, clips, start), start


def needs_ray(request: GenerateRequest) -> bool:
    """Whether workers share the work, or could, or a cluster is named for it: else this process does it alone."""
    batches = ceil(len(request.missing) / request.sampling.settings.videos_at_once)
    return request.workers > 1 or joins_cluster() or (batches > 1 and (os.cpu_count() or 1) > 1)


def _clips(
    request: GenerateRequest,
    on_ray: bool,
    on_progress: OnProgress,
    start: GoingOn | None,
    edited_nhwc: np.ndarray | None,
) -> Iterator[tuple[int, np.ndarray | None]]:
    stream: Callable[..., Iterator[tuple[int, np.ndarray | None]]]
    if request.workers > 1:
        from tasks.generation.video_on_workers import stream_on_workers

        stream = partial(stream_on_workers, workers=request.workers)
    elif on_ray:
        from tasks.generation.on_ray import stream_videos_on_ray as stream
    else:
        from tasks.generation.generate import stream_videos as stream
    asked = request.asked(None if start is None else start.inversion, edited_nhwc)
    clips = stream(asked, on_progress=on_progress)
    return ((request.missing[index], frames_nhwc) for index, frames_nhwc in clips)


def _write_videos(
    request: GenerateRequest, clips: Iterator[tuple[int, np.ndarray | None]], start: GoingOn | None
) -> dict[int, GeneratedVideo]:
    """Writes every job's video while it is sampled; one that is not complete leaves nothing behind."""
    open_files: dict[int, VideoFile] = {}
    videos: dict[int, GeneratedVideo] = {}
    fps, given_clips = request.sampling.settings.fps, 0 if start is None else start.num_parts
    try:
        for index, frames_nhwc in clips:
            if frames_nhwc is None:
                videos[index] = open_files[index].finish()
                del open_files[index]
                continue
            if index not in open_files:
                job = request.jobs[index]
                file = open_files[index] = VideoFile(
                    job.out, job.prompt, job.seed, request.clips + given_clips, fps, request.made_of(index)
                )
                for given_nhwc in () if start is None else start.parts:
                    file.add(given_nhwc)
            open_files[index].add(frames_nhwc)
    finally:
        for file in open_files.values():
            file.abandon()
    return videos


def _tell_unread(request: GenerateRequest, on_ray: bool) -> list[dict[str, str]]:
    """Says which words of the prompts are never read, and returns it for whoever reads the result."""
    texts = [
        ("prompt" if place == 0 else "at" if job.seconds else "then", text)
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


def _summary(video: GeneratedVideo, clips: int) -> dict[str, Any]:
    return {
        "prompt": video.prompt,
        "seed": video.seed,
        "file": str(video.file),
        "contact_sheet": str(video.contact_sheet),
        "clips": clips,
        "frames": video.num_frames,
        "fps": video.fps,
    }


def _kept_video(request: GenerateRequest, place: int) -> dict[str, Any]:
    """Tells of a video that was there as of one that was made."""
    from tasks.generation.frame_count import count_frames

    job = request.jobs[place]
    return {
        "prompt": job.prompt,
        "seed": job.seed,
        "file": str(job.out),
        "contact_sheet": str(contact_sheet_of(job.out)),
        "clips": request.clips,
        "frames": count_frames(job.out),
        "fps": request.sampling.settings.fps,
        "kept": True,
    }


def _as_markdown(result: dict[str, Any]) -> str:
    head = ("prompt", "seed", "frames", "file")
    rows = [
        (video["prompt"], video["seed"], video["frames"], markdown.Code(video["file"]))
        for video in result["videos"]
    ]
    about = f"Model {markdown.code(result['model'])}, {result['seconds']} s"
    sampled = markdown.table(("setting", "value", "from"), sampled_rows(result["sampling"]))
    return "\n".join([about, "", *markdown.table(head, rows), "", *sampled])
