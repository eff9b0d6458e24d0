"""What a generated video was made of, kept in its file: by it a finished one is told from one of another request."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from storage.local.visible import visible
from tasks.generation.frames_folder import frames_of

_KEY = "comment"
_TITLE_CHARACTERS = 200


def tags_of(prompt: str, made_of: Mapping[str, Any]) -> dict[str, str]:
    """Gives what players show as title and comment of a video: its prompt, and as JSON all that makes it again."""
    return {"title": visible(prompt)[:_TITLE_CHARACTERS], _KEY: visible(_json(made_of))}


def is_made_of(path: Path, made_of: Mapping[str, Any]) -> bool:
    """Whether a video, its contact sheet or a folder of frames says that it is of this very request."""
    return _read(path) == json.loads(_json(made_of))


def add_comment_to_gif(path: Path, comment: str) -> None:
    """Puts a comment into a finished gif, after its head and before its frames."""
    data = path.read_bytes()
    flags = data[10]
    head = 13 + (3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0)
    text = comment.encode()
    blocks = b"".join(
        bytes([len(part)]) + part for part in (text[i : i + 255] for i in range(0, len(text), 255))
    )
    partial = path.with_name(f".{path.stem}.{os.getpid()}.unfinished.gif")
    partial.write_bytes(data[:head] + b"\x21\xfe" + blocks + b"\x00" + data[head:])
    partial.replace(path)


def _json(made_of: Mapping[str, Any]) -> str:
    return json.dumps(made_of, ensure_ascii=False, sort_keys=True)


def _read(path: Path) -> Any:
    """What a video says of itself; None where it says nothing that can be read."""
    try:
        return json.loads(_comment(path) or "null")
    except (OSError, ValueError):
        return None


def _comment(path: Path) -> str | None:
    if path.is_dir() or path.suffix.lower() in (".gif", ".png"):
        from PIL import Image

        image = next(frames_of(path), None) if path.is_dir() else path
        if image is None:
            return None
        with Image.open(image) as opened:
            said = opened.info.get(_KEY)
        return said.decode(errors="replace") if isinstance(said, bytes) else said
    import av

    try:
        with av.open(str(path), metadata_errors="replace") as container:
            tags = {name.lower(): value for name, value in container.metadata.items()}
    except av.error.FFmpegError:
        return None
    return tags.get(_KEY)
