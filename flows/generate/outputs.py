"""Where the videos of a request go: which kinds there are, and what is there already."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows.generate.jobs import VideoJob
from tasks.errors import RequestError
from tasks.generation.frames_folder import strange_file
from tasks.generation.made_of import is_made_of
from tasks.generation.video_kinds import GIF_MAX_FPS, VIDEO_SUFFIXES, contact_sheet_of, is_file_kind
from tasks.output_folders import check_output_file, check_output_folder

_KINDS = f"{', '.join(VIDEO_SUFFIXES)}, or a folder without a suffix for PNGs"


def check_output(out: Path, field: str) -> None:
    """RequestError when no video can be written there: a kind that is none, a folder in the way."""
    if not is_file_kind(out):
        if out.suffix:
            raise RequestError(f"{field}: {out} must end in {_KINDS}")
        check_output_folder(out.parent, field)
        if out.is_file():
            raise RequestError(f"{field}: {out} is a file; a folder for PNGs needs another name")
        if out.is_dir() and (strange := strange_file(out)) is not None:
            raise RequestError(
                f"{field}: {out} is a folder that holds {strange}; name a file in it, or a new folder"
            )
        return
    check_output_file(out, field)


def check_frame_rate(jobs: Sequence[VideoJob], fps: float, field: str) -> None:
    """RequestError for a gif that no viewer would play at this rate."""
    if fps > GIF_MAX_FPS and any(job.out.suffix.lower() == ".gif" for job in jobs):
        raise RequestError(
            f"{field}: a gif has at most {GIF_MAX_FPS:g} frames a second, not {fps:g}; write an mp4"
        )


def finished_before(
    jobs: Sequence[VideoJob], made_of: Sequence[dict[str, Any]], force: bool, field: str
) -> frozenset[int]:
    """Gives the places of the jobs whose video is there, made of the very same.

    RequestError for one that is there and of something else, unless `force`, which makes all of them again.
    """
    if force:
        return frozenset()
    kept = set()
    for place, (job, same) in enumerate(zip(jobs, made_of, strict=True)):
        if _is_there(job.out) and is_made_of(job.out, same):
            kept.add(place)
            continue
        for path in (job.out, contact_sheet_of(job.out)):
            if _is_there(path) and not is_made_of(path, same):
                raise RequestError(
                    f"{field}: {path} is there already, and not of this request; --force writes over it"
                )
    return frozenset(kept)


def _is_there(path: Path) -> bool:
    return any(path.iterdir()) if path.is_dir() else path.exists()
