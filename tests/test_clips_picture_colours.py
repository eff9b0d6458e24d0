"""Stills whose colours are said by code points: wide ones come out in sRGB, HDR is named and never shown pale."""

import io
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.clips.images import read_image
from tasks.errors import ItemError
from tests.heif_files import heic

GREEN = (30, 200, 30)
P3_GREEN = (0, 204, 0)
"""Display P3's numbers `GREEN` in sRGB, in which they would be below zero for red and blue."""
SRGB, P3, PQ, HLG = (1, 13), (12, 13), (9, 16), (9, 18)


def _picture() -> np.ndarray:
    return np.full((64, 96, 3), GREEN, np.uint8)


def _png(codes: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(_picture()).save(buffer, "PNG")
    body = b"cICP" + bytes([*codes, 0, 1])
    chunk = struct.pack(">I", 4) + body + struct.pack(">I", zlib.crc32(body))
    return buffer.getvalue()[:33] + chunk + buffer.getvalue()[33:]


def _heic(codes: tuple[int, int]) -> bytes:
    return heic(_picture(), codes=codes)


def _avif(codes: tuple[int, int]) -> bytes:
    """Pillow's, with its own code points overwritten where they stand in the list of properties."""
    buffer = io.BytesIO()
    Image.fromarray(_picture()).save(buffer, "AVIF", quality=100, subsampling="4:4:4")
    data = buffer.getvalue()
    at = data.index(b"colrnclx") + 8
    return data[:at] + struct.pack(">HH", *codes) + data[at + 4 :]


KINDS = {"png": _png, "heic": _heic, "avif": _avif}


@pytest.mark.parametrize("in_memory", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_code_points_are_followed_to_srgb(tmp_path: Path, kind: str, in_memory: bool) -> None:
    for codes, wanted in ((SRGB, GREEN), (P3, P3_GREEN)):
        (tmp_path / "a.jpg").write_bytes(data := KINDS[kind](codes))
        shown = np.asarray(read_image(io.BytesIO(data) if in_memory else tmp_path / "a.jpg").picture)
        assert np.abs(shown[20:44, 20:76].astype(int) - wanted).max() <= 6


@pytest.mark.parametrize(("codes", "name"), [(PQ, "PQ"), (HLG, "HLG")])
@pytest.mark.parametrize("kind", KINDS)
def test_hdr_pictures_are_named(tmp_path: Path, kind: str, codes: tuple[int, int], name: str) -> None:
    (tmp_path / "a.jpg").write_bytes(KINDS[kind](codes))
    said = rf"^a.jpg: cannot be decoded: it is an HDR picture \({name}\), which is not read; save it as one"
    with pytest.raises(ItemError, match=said):
        read_image(tmp_path / "a.jpg")


def test_an_hdr_rendition_beside_the_picture_is_not_the_picture() -> None:
    """As phones store them: the picture for ordinary displays, and code points of another item in the same list."""
    data = _avif(SRGB)
    colr = struct.pack(">I", 19) + b"colrnclx" + struct.pack(">HHHB", 9, 16, 9, 128)
    parts = dict.fromkeys((b"meta", b"iprp", b"ipco"))
    at = data.index(b"ipco") - 4
    end = at + struct.unpack_from(">I", data, at)[0]
    grown = bytearray(data[:end] + colr + data[end:])
    for kind in parts:
        place = data.index(kind) - 4
        struct.pack_into(">I", grown, place, struct.unpack_from(">I", grown, place)[0] + len(colr))
    place = (
        grown.index(b"iloc") + 4 + 4 + 2 + 2 + 2 + 2
    )  # version, sizes, count, item, data reference, extents
    offset = place + 2
    struct.pack_into(">I", grown, offset, struct.unpack_from(">I", grown, offset)[0] + len(colr))
    shown = np.asarray(read_image(io.BytesIO(bytes(grown))).picture)
    assert np.abs(shown.astype(int) - GREEN).max() <= 6


def test_cut_off_descriptions_are_no_faults_of_ours() -> None:
    for make in KINDS.values():
        whole = make(P3)
        for length in range(0, min(len(whole), 400), 3):
            with suppress(ItemError):
                read_image(io.BytesIO(whole[:length]))
