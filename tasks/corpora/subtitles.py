"""Subtitles beside a long video: each cue is a caption with its times."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator

import webvtt
from webvtt.errors import MalformedCaptionError, MalformedFileError

from tasks.corpora.corpus import Corpus
from tasks.corpora.cue_markup import cue_words
from tasks.corpora.entry import Entry, seconds
from tasks.corpora.rolling_cues import Cue, unrolled

SUBTITLE_SUFFIXES = (".srt", ".vtt")
SCRIPT_SUFFIXES = (".ass", ".ssa")
MAX_SUBTITLE_BYTES = 8 * 2**20
_ARROW = "-->"
_TELEMETRY = re.compile(r"\bFrameCnt\s*:|\[(?:iso|shutter|latitude)\s*:|\bGPS\s*\(", re.IGNORECASE)
"""What drones write beside their films, a cue a frame, in the form of subtitles."""


def add_cues(entry: Entry, corpus: Corpus, name: str, text: str) -> None:
    """Adds the cues of a .srt, .vtt or .ass to an entry; ValueError when it holds none."""
    before = len(entry.captions)
    cues = _script(text) if name.lower().endswith(SCRIPT_SUFFIXES) else _cues(text)
    origin = f"{name[-4:].lower()} beside it"
    add_told(entry, cues, corpus.sound_marks, corpus.speaker_names, name, origin)
    if len(entry.captions) == before and entry.doubt is None:
        raise ValueError("holds no subtitles")


def add_told(
    entry: Entry,
    cues: Iterable[Cue],
    sound_marks: bool,
    speaker_names: bool,
    where: str,
    origin: str = "",
) -> None:
    """Adds the words of cues, wherever they come from, without their markup; see `cue_words` and `Entry.add`."""
    told = (
        cue._replace(text=cue_words(cue.text, sound_marks, speaker_names))
        for cue in cues
        if not _TELEMETRY.search(cue.text)
    )
    for cue in unrolled(told):
        if cue.end_s > cue.start_s:  # a cue that is never shown speaks of nothing
            entry.add(cue.text, cue.start_s, cue.end_s, where, origin)


def _cues(text: str) -> Iterator[Cue]:
    """Reads VTT where its header says so, else SRT, whatever the file is called."""
    kind = "vtt" if text.lstrip().startswith("WEBVTT") else "srt"
    content = text.lstrip() if kind == "vtt" else _numbered(text)
    try:
        found = webvtt.from_buffer(io.StringIO(content), format=kind).captions
    except (MalformedFileError, MalformedCaptionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"holds no subtitles that can be read ({reason})") from None
    for cue in found:
        start_s, end_s = (time.in_milliseconds() / 1000 for time in (cue.start_time, cue.end_time))
        yield Cue(start_s, end_s, cue.raw_text)


def _numbered(text: str) -> str:
    """Gives SRT whose cues all have their number, without which they would be left out."""
    lines: list[str] = []
    for line in text.strip().splitlines():
        if _ARROW in line and not (lines and lines[-1].strip().isdecimal()):
            lines += ["", "1"]
        lines.append(line)
    return "\n".join(lines).strip()


def _script(text: str) -> Iterator[Cue]:
    """Reads ASS and SSA: the lines `Dialogue:`, whose fields the line `Format:` before them names."""
    fields: list[str] = []
    events = False
    for line in text.splitlines():
        if line.startswith("["):
            events = line.strip().lower() == "[events]"
        key, _, rest = line.partition(":")
        if events and key.strip().lower() == "format":
            fields = [field.strip().lower() for field in rest.split(",")]
        elif events and key.strip().lower() == "dialogue" and {"start", "end", "text"} <= set(fields):
            # The text comes last and may have commas in it.
            values = dict(zip(fields, rest.split(",", len(fields) - 1), strict=False))
            times = (seconds(values.get(name), name) for name in ("start", "end"))
            start_s, end_s = (time or 0.0 for time in times)
            yield Cue(start_s, end_s, values.get("text", ""))
