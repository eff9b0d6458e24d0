"""The kinds of files that a generated video can be, by the ending of its path; imported before anything heavy."""

from pathlib import Path

VIDEO_SUFFIXES = (".mp4", ".webm", ".gif")
"""Of files; a path without a suffix is a folder of PNGs."""

GIF_MAX_FPS = 50.0
"""A gif counts in hundredths of a second, and viewers take one of them for a tenth of a second."""


def is_file_kind(out: Path) -> bool:
    """Tells a video in one file from a folder of frames."""
    return out.suffix.lower() in VIDEO_SUFFIXES


def contact_sheet_of(out: Path) -> Path:
    """Gives the path of a video's contact sheet."""
    return out.with_suffix(".png") if is_file_kind(out) else out.with_name(f"{out.name}.png")
