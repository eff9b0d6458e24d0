"""What a corpus says of one source (captions, licence, what is wrong with it) and the record made of it."""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass, field

from tasks.corpora.corpus import Corpus
from tasks.corpora.encodings import LOST, is_damaged
from tasks.corpora.records import NO_CAPTION, CaptionSpan, MediaPlace, SourceRecord, source_id
from tasks.corpora.tree import MISSING, OUTSIDE, FoundFile, uri_of

MAX_CAPTION_CHARACTERS = 1000  # no text encoder reads further
MAX_GIVEN_CHARACTERS = 10_000
MAX_CAPTION_BYTES = 4 * MAX_GIVEN_CHARACTERS
"""More of a caption's file than this is not read: UTF-8 has at most four bytes a character."""
# What old programs write in the place of control characters that no text has, as browsers read it.
_CONTROLS: dict[int, str] = {
    code: bytes([code]).decode("cp1252", "ignore") or " " for code in range(0x80, 0xA0)
}
_MARK = "\ufeff"  # of encodings; where files were put together it stands amid the words
_CLOCK = re.compile(r"(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2}(?:[.,]\d+)?)", re.ASCII)
# As spreadsheets of half the world write it; `1,234` may be a thousand and more.
_DECIMAL_COMMA = re.compile(r"(?!\d{1,3},\d{3}$)\d+,\d+|0,\d{3}", re.ASCII)


@dataclass
class Entry:
    """What a corpus says of one source; `candidates` are the places to look for it, if there are several.

    A `problem` is one whatever else is there; a `doubt`, of a caption that cannot be used, is one where there is no
    other caption. A row of a table that `names_file` not is a source for its problem's sake; `if_missing` says more
    of a path at which the corpus has no file.
    """

    captions: list[CaptionSpan] = field(default_factory=list)
    licence: str = ""
    candidates: tuple[str, ...] = ()
    problem: str | None = None
    doubt: str | None = None
    names_file: bool = True
    if_missing: str | None = None
    is_metadata: bool = False
    origins: dict[str, None] = field(default_factory=dict)
    split: str | None = None

    def add(
        self,
        text: str,
        start: object = None,
        end: object = None,
        where: str = "the caption",
        origin: str = "",
    ) -> None:
        """Adds a caption unless it is empty; ValueError when its times are none. Lost letters are a doubt.

        `where` is for messages, `origin` says of what kind its place is.
        """
        if LOST in text or is_damaged(text):
            self.doubt = self.doubt or f"{where}: letters were lost in it (U+FFFD, or bytes of no character)"
            return
        caption = caption_span(text, seconds(start, "start_s"), seconds(end, "end_s"))
        if caption is not None:
            self.captions.append(caption)
            self.origins[origin] = None

    def what_is_wrong(self) -> str | None:
        """Tells why the source cannot be used, as far as the corpus says it."""
        return self.problem or (None if self.captions else self.doubt or NO_CAPTION)


def record_of(
    corpus: Corpus,
    found: FoundFile,
    entry: Entry,
    origin: str = "given",
    uri: str | None = None,
    place: MediaPlace | None = None,
    split: str | None = None,
) -> SourceRecord:
    """Gives the record of a file, or with `uri` and `place` of a part of it, whose size and time are the file's."""
    uri = uri_of(found.name) if uri is None else uri
    found_problem = found.problem if entry.names_file else None
    if found_problem in (MISSING, OUTSIDE) and entry.if_missing is not None:
        found_problem = f"{found_problem}: {entry.if_missing}"
    return SourceRecord(
        source_id=source_id(corpus.name, uri),
        uri=uri,
        place=place or MediaPlace(found.url),
        corpus=corpus.name,
        kind=corpus.kind,
        licence=entry.licence or corpus.licence,
        captions=tuple(entry.captions),
        caption_origin=origin,
        size_bytes=found.size_bytes,
        mtime_ns=found.mtime_ns,
        split=split,
        caption_choice=corpus.caption_choice,
        sound_marks=corpus.sound_marks,
        speaker_names=corpus.speaker_names,
        caption_from=" and ".join(entry.origins),
        problem=found_problem or entry.what_is_wrong(),
    )


def normalise_caption(text: str) -> str:
    """One line of NFC text without control characters, runs of blanks as one, at most 1000 characters."""
    text = text[: 4 * MAX_CAPTION_CHARACTERS]
    if text.isprintable():  # nearly every caption of a table of millions
        return " ".join(unicodedata.normalize("NFC", text).split())[:MAX_CAPTION_CHARACTERS]
    text = unicodedata.normalize("NFC", text.translate(_CONTROLS).replace(_MARK, ""))
    printable = "".join(c if unicodedata.category(c) not in ("Cc", "Cs") else " " for c in text)
    return " ".join(printable.split())[:MAX_CAPTION_CHARACTERS]


def caption_span(text: str, start_s: float | None = None, end_s: float | None = None) -> CaptionSpan | None:
    """A caption as it is used and as it was given; None where no text is left, ValueError for bad times."""
    normal = normalise_caption(text)
    if not normal:
        return None
    if start_s is not None and end_s is not None and end_s <= start_s:
        raise ValueError(f"end_s {end_s:g} does not lie after start_s {start_s:g}")
    # Half a surrogate pair (JSON can hold one) would not go into a table.
    given = text[:MAX_GIVEN_CHARACTERS].encode(errors="replace").decode()
    return CaptionSpan(normal, start_s, end_s, None if given == normal else given)


def seconds(value: object, column: str) -> float | None:
    """Gives the seconds from a number, a text of one (`1.5`, `1,5`) or a time like 0:01:02.5, None for nothing.

    ValueError, naming the column, for anything else.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    clock = _CLOCK.fullmatch(value.strip()) if isinstance(value, str) else None
    if clock:
        return float(clock[1] or 0) * 3600 + float(clock[2]) * 60 + float(clock[3].replace(",", "."))
    if isinstance(value, str) and _DECIMAL_COMMA.fullmatch(value.strip()):
        value = value.replace(",", ".")
    try:
        number = float(value)  # type: ignore[arg-type]  # whatever else a table holds is refused below
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or number < 0:
        raise ValueError(f"{column} is not a number of seconds: {str(value).strip()[:40]!r}")
    return number
