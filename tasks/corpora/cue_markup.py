"""The words of a subtitle's cue, without the markup of SRT, ASS and VTT."""

from __future__ import annotations

import html
import re

MAX_CUE_CHARACTERS = 40_000  # no caption is so long, and what looks for markup takes longer for longer texts
_READING_AID = re.compile(r"<(rt|rp)\b[^<>]*>[^<>]*(?:</\1\s*>|(?=<)|$)", re.IGNORECASE)
_DRAWING = re.compile(
    r"\{[^{}]{0,200}?\\p[1-9][^{}]{0,200}\}[^{}]*"
)  # ASS: what follows is an outline's numbers
_OVERRIDE = re.compile(r"\{\\[^{}]*\}|\{[a-zA-Z]:[^{}]*\}")  # of ASS, and of MicroDVD
_LINE_BREAK = re.compile(r"\\[Nnh]|<br\s*/?>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>|</>|<\d[\d:.,]*>")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|\w{2,32});", re.ASCII)
_INVISIBLE = dict.fromkeys((0x200B, 0x200E, 0x200F, 0xFEFF, *range(0x202A, 0x202F), *range(0x2066, 0x206A)))
_SOUND = re.compile(r"\[[^\[\]]*\]|\([^()]*\)|（[^（）]*）|【[^【】]*】|[♪♫♬][^♪♫♬\n]*[♪♫♬]|[♪♫♬]")
_NAME = r"[^\W\d_a-z][\w.'’-]*"
_SPEAKER = re.compile(
    rf"^([ \t]*(?:[-–—]|>>+)?[ \t]*){_NAME}(?:[ ]{_NAME}){{0,2}}[ \t]*:(?=\s)", re.MULTILINE
)


def cue_words(text: str, sound_marks: bool = True, speaker_names: bool = True) -> str:
    """Gives the words of a cue's text; whom a `<v>` names is never among them.

    Without `sound_marks` what stands in brackets or between notes goes too, without `speaker_names` up to three
    capitalised words before a colon at the beginning of a line.
    """
    text = text[:MAX_CUE_CHARACTERS]
    text = _OVERRIDE.sub("", _DRAWING.sub("", text))
    text = _TAG.sub("", _LINE_BREAK.sub("\n", _READING_AID.sub("", text)))
    # After the tags: what an entity stands for is a word, however it looks.
    text = _ENTITY.sub(lambda found: html.unescape(found[0]), text).translate(_INVISIBLE)
    if not sound_marks:
        text = _SOUND.sub(" ", text)
    if not speaker_names:
        text = _SPEAKER.sub(r"\1", text)
    return text
