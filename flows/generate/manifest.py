"""The list beside the videos of a prompts file: the folder is then a captioned corpus and a seed list in one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flows.generate.jobs import VideoJob
from storage.local.visible import visible
from tasks.errors import RequestError

_HEAD = "file\tcaption\tseed"


def check_manifest(folder: Path, force: bool) -> None:
    """RequestError where a list of the user's own has the name, unless `force`."""
    path = _path(folder)
    if force or not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as lines:
        if lines.readline().rstrip("\n") != _HEAD:
            raise RequestError(f"out_dir: {path} is there already, and not of videos; --force writes over it")


def write_manifest(jobs: Sequence[VideoJob]) -> None:
    """Writes manifest.tsv beside the videos."""
    rows = [_HEAD]
    rows += [f"{job.out.name}\t{visible(' '.join(job.prompt.split()))}\t{job.seed}" for job in jobs]
    _path(jobs[0].out.parent).write_text("\n".join(rows) + "\n", encoding="utf-8")


def _path(folder: Path) -> Path:
    return folder / "manifest.tsv"
