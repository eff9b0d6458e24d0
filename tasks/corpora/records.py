"""What a reader knows about one source, before any of it is decoded."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

KINDS = ("images", "short-videos", "long-videos")


@dataclass(frozen=True)
class CaptionSpan:
    """A caption and the seconds it speaks of; without them it speaks of the whole source."""

    text: str
    start_s: float | None = None
    end_s: float | None = None


@dataclass(frozen=True)
class SourceRecord:
    """One image or video of a corpus.

    `uri` is the path inside the corpus, `path` where the file lies now, `problem` why the source
    cannot be used (it has vanished, it has no caption): the build quarantines it and goes on.
    """

    source_id: str
    uri: str
    path: str
    corpus: str
    kind: str
    licence: str
    captions: tuple[CaptionSpan, ...]
    caption_origin: str
    size_bytes: int
    mtime_ns: int
    problem: str | None = None


def source_id(corpus: str, uri: str) -> str:
    """The source's name: blake2b-128 over its corpus and its path inside it, wherever the corpus lies."""
    return hashlib.blake2b(f"{corpus}\0{uri}".encode(), digest_size=16).hexdigest()


def caption_for_span(captions: Sequence[CaptionSpan], start_s: float, end_s: float) -> str | None:
    """The caption that overlaps a span most, the first of equals; one without times if none does; or None."""
    best, best_overlap_s = None, 0.0
    for caption in captions:
        if caption.start_s is None and caption.end_s is None:
            continue
        caption_start_s = -math.inf if caption.start_s is None else caption.start_s
        caption_end_s = math.inf if caption.end_s is None else caption.end_s
        overlap_s = min(end_s, caption_end_s) - max(start_s, caption_start_s)
        if overlap_s > best_overlap_s:
            best, best_overlap_s = caption.text, overlap_s
    if best is not None:
        return best
    untimed = (caption.text for caption in captions if caption.start_s is None and caption.end_s is None)
    return next(untimed, None)
