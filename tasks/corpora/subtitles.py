"""Subtitles beside a long video: each cue is a caption with its times."""

from __future__ import annotations

import io

import webvtt
from webvtt.errors import MalformedCaptionError, MalformedFileError

from tasks.corpora.entry import Entry

SUBTITLE_SUFFIXES = (".srt", ".vtt")
MAX_SUBTITLE_BYTES = 8 * 2**20


def add_cues(entry: Entry, name: str, text: str) -> None:
    """Adds the cues of a .srt or .vtt to an entry; ValueError when it holds none."""
    before = len(entry.captions)
    try:
        cues = webvtt.from_buffer(io.StringIO(text), format=name[-3:].lower())
    except (MalformedFileError, MalformedCaptionError) as error:
        raise ValueError(f"no subtitles can be read: {' '.join(str(error).split())[:200]}") from None
    for cue in cues.captions:
        start_s, end_s = cue.start_time.in_milliseconds() / 1000, cue.end_time.in_milliseconds() / 1000
        if end_s > start_s:  # a cue that is never shown speaks of nothing
            entry.add(cue.text, start_s, end_s, name)
    if len(entry.captions) == before:
        raise ValueError("holds no subtitles")
