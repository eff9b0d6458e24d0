"""Subtitles inside a film's own file, as captions of a long video that has no words beside it.

Their packets are read as they are: the words of SubRip, WebVTT, ASS and MP4's text lie in them as in files, and the
same code takes the markup away. Subtitles that are pictures, as discs have them, are named.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.subtitles.stream import SubtitleStream

from tasks.clips.reading import open_video
from tasks.corpora.encodings import decoded
from tasks.corpora.entry import Entry
from tasks.corpora.media import Media
from tasks.corpora.records import SourceRecord
from tasks.corpora.rolling_cues import Cue
from tasks.corpora.subtitle_languages import chosen_subtitle, unclear_language
from tasks.corpora.subtitles import MAX_SUBTITLE_BYTES, add_told
from tasks.errors import ItemError

_PLAIN, _SCRIPT, _SIZED = ("subrip", "srt", "webvtt", "text"), ("ass", "ssa"), ("mov_text",)
_READ = (*_PLAIN, *_SCRIPT, *_SIZED)
_PICTURES = ("hdmv_pgs_subtitle", "dvd_subtitle", "dvb_subtitle", "xsub")
_FIELDS_BEFORE_TEXT = 8  # of a line of ASS in a container: its order, layer, style, name, margins and effect
_LAST_CUE_S = 10.0  # a cue without a length ends where the next begins
_SEPARATOR = "\x1e"
_LESS_WANTED = Disposition.forced | Disposition.comment | Disposition.hearing_impaired
_UNKNOWN = ("", "und", "mis", "zxx", "mul")


def with_inner_subtitles(source: SourceRecord, media: Media) -> SourceRecord:
    """Gives a source without words those of its file's subtitles; the source itself where it has none.

    The English ones count, else those of the only language. Raises ItemError (stage `read`) where captions are needed
    and it has only pictures of them, or several languages.
    """
    with open_video(media) as (container, _):
        streams = [stream for stream in container.streams if isinstance(stream, SubtitleStream)]
        kinds = {stream.index: _codec(stream) for stream in streams}
        texts = [stream for stream in streams if kinds[stream.index] in _READ]
        stream, unclear = _chosen(texts)
        if stream is not None:
            begins_s = max((container.start_time or 0) / av.time_base, 0.0)
            cues = list(_cues(container, stream, kinds[stream.index], begins_s))
            entry = Entry()
            add_told(entry, cues, source.sound_marks, source.speaker_names, "its own subtitles")
            if entry.captions:
                return replace(source, captions=tuple(entry.captions), problem=None)
    if source.problem is not None:
        other = sorted(set(kinds.values()).difference(_READ))
        raise ItemError(f"{source.uri}: {unclear or _without_words(source.problem, other)}", stage="read")
    return source


def _without_words(problem: str, codecs: list[str]) -> str:
    if not codecs:
        return problem
    kind = "pictures" if set(codecs) <= set(_PICTURES) else "of a kind that is not read"
    return f"{problem}; its own subtitles are {kind} ({', '.join(codecs)})"


def _codec(stream: SubtitleStream) -> str:
    context = stream.codec_context
    return "unknown" if context is None else str(context.codec.canonical_name)


def _chosen(streams: list[SubtitleStream]) -> tuple[SubtitleStream | None, str | None]:
    """Gives the stream whose words count, by its language as for files; else what is wrong with them."""
    by_language: dict[str, list[str]] = defaultdict(list)
    named = {
        f"{_language(stream) or 'no language'}, stream {stream.index}": stream
        for stream in _plainest(streams)
    }
    for name, stream in named.items():
        by_language[_language(stream)].append(name)
    if len(by_language) > 1:
        by_language.pop("", None)
    chosen = chosen_subtitle(by_language)
    if chosen is not None:
        return named[chosen], None
    return None, unclear_language(by_language) if by_language else None


def _plainest(streams: list[SubtitleStream]) -> list[SubtitleStream]:
    """Those for everybody before those of foreign words alone, comments or sounds; the default before others."""

    def rank(stream: SubtitleStream) -> tuple[bool, bool, int]:
        default = bool(stream.disposition & Disposition.default)
        return bool(stream.disposition & _LESS_WANTED), not default, stream.index

    return sorted(streams, key=rank)


def _language(stream: SubtitleStream) -> str:
    language = str(stream.metadata.get("language", "")).lower().replace("_", "-").split("-")[0]
    return "" if language in _UNKNOWN else language


def _cues(container: InputContainer, stream: SubtitleStream, codec: str, begins_s: float) -> Iterator[Cue]:
    """Yields the cues of a stream in their order, their times counted from where the film begins."""
    timed, size = [], 0
    for packet in _packets(container, stream):
        words = _words_of(bytes(packet), codec)
        size += len(words)
        if packet.pts is None or not words.strip():
            continue
        if size > MAX_SUBTITLE_BYTES:
            break
        unit_s = float(packet.time_base)
        timed.append((packet.pts * unit_s - begins_s, (packet.duration or 0) * unit_s, words))
    timed.sort(key=lambda cue: cue[0])
    try:
        texts = decoded(_SEPARATOR.encode().join(words for _, _, words in timed), None).split(_SEPARATOR)
    except ValueError:
        return  # bytes of no known encoding: as good as none
    if len(texts) != len(timed):
        return
    following = [start_s for start_s, _, _ in timed[1:]] + [float("inf")]
    for (start_s, length_s, _), next_s, text in zip(timed, following, texts, strict=True):
        end_s = start_s + length_s if length_s > 0 else min(next_s, start_s + _LAST_CUE_S)
        if end_s > 0:
            yield Cue(max(start_s, 0.0), end_s, text)


def _packets(container: InputContainer, stream: SubtitleStream) -> Iterator[Packet]:
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, IndexError):  # streams that begin on the way: `streams.packets_of`
            return
        if packet.size > 0:
            yield packet


def _words_of(content: bytes, codec: str) -> bytes:
    """Gives the words of a packet with their markup."""
    if codec in _SIZED:  # their length, they, and boxes that say how they look
        return content[2 : 2 + int.from_bytes(content[:2], "big")]
    if codec in _SCRIPT:
        parts = content.split(b",", _FIELDS_BEFORE_TEXT)
        return parts[-1] if len(parts) > _FIELDS_BEFORE_TEXT else b""
    return content.rstrip(b"\0")
