"""What a reader knows about one source, before any of it is decoded."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

NO_CAPTION = "no caption; add a row to the manifest or a .txt beside the file"


@dataclass(frozen=True)
class CaptionSpan:
    """A caption and the seconds it speaks of; without them it speaks of the whole source.

    `text` is normalised, `given` is what the corpus has (none: the same).
    """

    text: str
    start_s: float | None = None
    end_s: float | None = None
    given: str | None = None


@dataclass(frozen=True)
class MediaPlace:
    """Where the bytes of a source lie: a whole file, or a part of one.

    `url` is an absolute local path or an fsspec address; `offset` and `size` are a tar member's bytes in it,
    `row` and `column` the cell of a parquet file.
    """

    url: str
    offset: int | None = None
    size: int | None = None
    row: int | None = None
    column: str | None = None


@dataclass(frozen=True)
class SourceRecord:
    """One image or video of a corpus.

    `uri` is the path inside the corpus, `place` where its bytes lie now, `split` the corpus's own split of it
    where it has one, `caption_from` the kind of place that its captions come from (for people), `caption_choice`
    how a clip gets one of several (`best`, `drawn`), `sound_marks` and `speaker_names` what is kept of subtitles that
    are found in the file itself, `problem` why the source cannot be used (it has vanished, it
    has no caption): the build quarantines it and goes on.
    """

    source_id: str
    uri: str
    place: MediaPlace
    corpus: str
    kind: str
    licence: str
    captions: tuple[CaptionSpan, ...]
    caption_origin: str
    size_bytes: int
    mtime_ns: int
    split: str | None = None
    problem: str | None = None
    caption_from: str = ""
    caption_choice: str = "best"
    sound_marks: bool = True
    speaker_names: bool = True

    @property
    def is_wordless_film(self) -> bool:
        """Tells whether only its own subtitles, which nobody has looked for yet, could give it words."""
        return self.kind == "long-videos" and not self.captions and self.problem in (None, NO_CAPTION)


def source_id(corpus: str, uri: str) -> str:
    """Gives the source's name: blake2b-128 over its corpus and its path inside it, wherever the corpus lies."""
    return hashlib.blake2b(f"{corpus}\0{uri}".encode(), digest_size=16).hexdigest()


def captions_for_span(
    captions: Sequence[CaptionSpan], start_s: float, end_s: float
) -> tuple[CaptionSpan, ...]:
    """Gives the captions to choose from for a span: the one that overlaps it most, else all that have no times."""
    best, best_overlap_s = None, 0.0
    for caption in captions:
        if caption.start_s is None and caption.end_s is None:
            continue
        caption_start_s = -math.inf if caption.start_s is None else caption.start_s
        caption_end_s = math.inf if caption.end_s is None else caption.end_s
        overlap_s = min(end_s, caption_end_s) - max(start_s, caption_start_s)
        if overlap_s > best_overlap_s:
            best, best_overlap_s = caption, overlap_s
    if best is not None:
        return (best,)
    return tuple(caption for caption in captions if caption.start_s is None and caption.end_s is None)
