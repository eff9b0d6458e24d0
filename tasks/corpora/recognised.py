"""Files whose names say another kind of media than they hold: told by their first bytes."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from tasks.corpora.corpus import Corpus
from tasks.corpora.tree import IMAGE_SUFFIXES, VIDEO_SUFFIXES, Listing, Tree, is_media, media_suffixes

HEAD_BYTES = 4096  # an APNG says that it moves before its first picture
_PNG, _EBML, _ASF = b"\x89PNG\r\n\x1a\n", b"\x1aE\xdf\xa3", b"0&\xb2u\x8ef\xcf\x11"
_STILL_BRANDS = (b"avif", b"heic", b"heix", b"heim", b"heis", b"mif1")
_ATOMS = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_JPEG_XL = (b"\xff\x0a", b"\0\0\0\x0cJXL ")
_STILL = (b"BM", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP  ", b"\xffO\xffQ", *_JPEG_XL)
_MOVING = (_EBML, _ASF, b"FLV\x01", b"OggS", b"\0\0\x01\xba", b"\0\0\x01\xb3", b"GIF8")
_TS_PACKET_BYTES = 188


def media_listing(tree: Tree, corpus: Corpus) -> Listing:
    """Lists a corpus: files with a suffix of its kind, and those with another kind's that hold media of its own.

    So a clip called `.jpg` and an animated WebP are found among videos, where posters and thumbnails are none.
    """
    listing = tree.listing(media_suffixes(corpus.kind))
    other = other_suffixes(corpus.kind)
    doubtful = sorted(name for name in listing.others if is_media(name, other))
    held = [
        name
        for name, head in zip(doubtful, tree.heads(doubtful, HEAD_BYTES), strict=True)
        if holds_kind(head, corpus.kind)
    ]
    if not held:
        return listing
    files = listing.files | {name: tree.find(name) for name in held}
    return replace(listing, files=dict(sorted(files.items())), others=listing.others.difference(held))


def other_suffixes(kind: str) -> tuple[str, ...]:
    """Gives the suffixes of media of another kind, by which files of this one may be called all the same."""
    return VIDEO_SUFFIXES if kind == "images" else IMAGE_SUFFIXES


def holds_kind(head: bytes | None, kind: str) -> bool:
    """Tells whether the first bytes of a file are those of media that a corpus of this kind holds."""
    return holds(head) == ("image" if kind == "images" else "video")


def holds(head: bytes | None) -> Literal["image", "video"] | None:
    """Tells what the first bytes of a file say that it holds; animated images are videos, None is nothing known."""
    if not head:
        return None
    if head.startswith(_PNG):
        return "video" if b"acTL" in head.partition(b"IDAT")[0] else "image"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "video" if head[12:16] == b"VP8X" and head[20] & 2 else "image"
    if head[4:8] == b"ftyp":
        return "image" if head[8:12] in _STILL_BRANDS else "video"
    transport = len(head) > _TS_PACKET_BYTES and head[0] == head[_TS_PACKET_BYTES] == 0x47
    if head.startswith(_MOVING) or head[4:8] in _ATOMS or head[8:12] == b"AVI " or transport:
        return "video"
    return "image" if head.startswith(_STILL) else None
