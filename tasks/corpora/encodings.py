"""Which encoding a file of words has, by a stated rule: where the rule says nothing, nothing is guessed.

The corpus's `encoding`, else a mark at the beginning, else strict UTF-8, else Windows-1252 where most letters are
ASCII's; anything else is refused, for wrong words are worse than none.
"""

from __future__ import annotations

import codecs
import re
import string
from collections.abc import Callable, Iterable
from itertools import chain
from typing import NamedTuple

MAX_ODD_LETTERS = 0.3
"""From this share of letters beyond ASCII on, a text that is no UTF-8 is not taken for Windows-1252."""
LOST = "\ufffd"
UNKNOWN = "the encoding is not known: neither UTF-8 nor Windows-1252; name it as `encoding` of the corpus"
NULS = "holds NUL characters, as UTF-16 without its mark does; name it as `encoding` of the corpus"

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MAX_CONTROLS = 0.1
_CONTROLS = re.compile(r"[\0-\x08\x0e-\x19\x1c-\x1f]")
_ASCII_LETTERS = string.ascii_letters.encode()
_LETTERS_BEYOND = re.compile(r"[^\W\d_\x00-\x7f]+")
# No language of Windows-1252 has four such characters in a row, but for marks that stand together and a row of one;
# Cyrillic, Greek, Chinese and the like consist of such runs when they are read as it.
_MARKS_THAT_MEET = "\xa0\xb7\u2013\u2014\u2018-\u201e\u2022\u2026"  # dashes, quotes, dots
_FOREIGN_RUN = re.compile(rf"([^\0-\x7f{_MARKS_THAT_MEET}])(?!\1)[^\0-\x7f{_MARKS_THAT_MEET}]{{3}}")
_MAX_MEANINGLESS = 0.02  # of what is not ASCII: five bytes mean nothing in Windows-1252, and much in Japanese
_BAD_BYTE = re.compile("[\udc80-\udcff]")
_UTF8_CHARACTER = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_DAMAGED = 10  # well-formed characters for each bad byte: then it is UTF-8 that was damaged


class Encoding(NamedTuple):
    """A codec, and what it does with bytes that are none of its characters (an error handler's name)."""

    codec: str
    errors: str = "strict"


def known_encoding(name: str) -> str:
    """Gives the codec's own name; ValueError unless it is an encoding of texts."""
    try:
        codec = codecs.lookup(name)
        "".encode(codec.name)
        b"".decode(codec.name)
    except Exception:  # codecs that turn bytes into bytes raise anything
        raise ValueError(f"{name!r} is no encoding of texts; write cp1251 or shift_jis, say") from None
    if codec.name in ("unicode-escape", "raw-unicode-escape", "idna", "punycode", "undefined", "utf-7"):
        raise ValueError(f"{name!r} is no encoding of files; write cp1251 or shift_jis, say")
    return codec.name


def decoded(content: bytes, stated: str | None, cut: bool = False) -> str:
    """Gives the words of a whole file, or, when it was `cut`, of its beginning; ValueError when they cannot be told."""
    encoding = encoding_of(lambda: [content], stated, cut)
    try:
        decoder = codecs.getincrementaldecoder(encoding.codec)(encoding.errors)
        text = decoder.decode(content, not cut).removeprefix("\ufeff")
    except ValueError:
        raise ValueError(_not_as_stated(encoding.codec)) from None
    if "\0" in text or len(_CONTROLS.findall(text)) > _MAX_CONTROLS * len(text):
        raise ValueError(NULS)
    if is_damaged(text):
        raise ValueError("holds bytes that are no UTF-8")
    return text


def decoded_utf8(content: bytes, stated: str | None) -> str:
    """Gives words that should be UTF-8, as names and the texts of parquet are; where they are not, see `decoded`."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return decoded(content, stated)


def encoding_of(chunks: Callable[[], Iterable[bytes]], stated: str | None, cut: bool = False) -> Encoding:
    """Decides for a file, whose bytes are asked for up to twice; ValueError when the rule gives no encoding.

    Text of `surrogateescape` may hold bytes that were damaged: `is_damaged` tells.
    """
    head = b""
    for chunk in chunks():
        head += chunk
        if len(head) >= 4:
            break
    mark = next((name for mark, name in _MARKS if head.startswith(mark)), None)
    # No text of an 8-bit encoding begins with the mark of UTF-8, so it counts before what was stated.
    if mark == "utf-8-sig":
        return Encoding(mark, "surrogateescape")
    if stated is not None:
        return Encoding(stated)
    if mark is not None:
        return Encoding(mark)
    if _is_utf8(chunks(), cut):
        return Encoding("utf-8")
    return _eight_bit(chunks(), cut)


def is_damaged(text: str) -> bool:
    """Tells whether a text that was decoded holds bytes that were none of its encoding's."""
    return not text.isascii() and _BAD_BYTE.search(text) is not None


def _is_utf8(chunks: Iterable[bytes], cut: bool) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for chunk in chunks:
            decoder.decode(chunk)
        decoder.decode(b"", not cut)
    except UnicodeDecodeError:
        return False
    return True


def _eight_bit(chunks: Iterable[bytes], cut: bool) -> Encoding:
    """Tells Windows-1252 (with UTF-8 between, as tables that were put together have it) and damaged UTF-8."""
    western = codecs.getincrementaldecoder("utf-8")(BYTES_AS_CP1252)
    damaged = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    ascii_letters = beyond = foreign = meaningless = whole = bad = 0
    for chunk in chain(chunks, (None,)):
        content, final = chunk or b"", chunk is None and not cut
        ascii_letters += len(content) - len(content.translate(None, _ASCII_LETTERS))
        text = western.decode(content, final)
        runs = _LETTERS_BEYOND.findall(text)
        beyond += sum(map(len, runs))
        foreign += _FOREIGN_RUN.search(text) is not None
        meaningless += len(_BAD_BYTE.findall(text))
        whole += len(_UTF8_CHARACTER.findall(content))
        bad += len(_BAD_BYTE.findall(damaged.decode(content, final)))
    is_western = not foreign and meaningless < _MAX_MEANINGLESS * (meaningless + whole + bad)
    if is_western and (not beyond or beyond < MAX_ODD_LETTERS * (ascii_letters + beyond)):
        return Encoding("utf-8", BYTES_AS_CP1252)
    if whole >= _DAMAGED * bad:
        return Encoding("utf-8", "surrogateescape")
    raise ValueError(UNKNOWN)


def _not_as_stated(codec: str) -> str:
    return f"is not written in {codec}, which its mark or the corpus's `encoding` says"


def _as_cp1252(error: UnicodeError) -> tuple[str, int]:
    """Decodes bytes that are no UTF-8 as what old spreadsheets write; bytes without a meaning there stay damage."""
    assert isinstance(error, UnicodeDecodeError)
    bad = error.object[error.start : error.end]
    try:
        return bad.decode("cp1252"), error.end
    except UnicodeDecodeError:
        return bad.decode("ascii", "surrogateescape"), error.end


BYTES_AS_CP1252 = "vidrd-bytes-as-cp1252"
codecs.register_error(BYTES_AS_CP1252, _as_cp1252)
