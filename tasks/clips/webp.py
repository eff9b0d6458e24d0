"""What marks WebP, which libav does not decode as an animation; `animations.py` reads it."""

from __future__ import annotations

DEFAULT_FRAME_MS = 100  # what browsers make of a frame that has no duration


def is_webp(head: bytes) -> bool:
    """Tells whether the first bytes of a file call it WebP."""
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"
