"""What failed downloads leave is named for what it is, whatever reads it, and costs nothing else."""

import io
from pathlib import Path

import numpy as np
import pytest

from tasks.clips.broken_files import what_is_wrong
from tasks.clips.images import read_image
from tasks.clips.reading import probe
from tasks.clips.video_io import encode
from tasks.errors import ItemError
from tests.field_media import clips_in

CONTENTS = {
    b"": "is empty (0 bytes)",
    b"\xef\xbb\xbf\n<!DOCTYPE html><title>403 Forbidden</title>": "is a page of HTML or XML",
    b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>": "is a page of HTML or XML",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n": "is a pointer of Git LFS",
    b'{"error": "not found"}': "is text",
    "Пожалуйста, войдите ".encode() * 40: "is text",
    bytes(5000): "begins with zeros alone",
}


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("name", ["a.mp4", "a.jpg"])
def test_what_stands_in_the_place_of_media_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    file = io.BytesIO(content)
    for media in (path, file):
        with pytest.raises(ItemError) as failure:
            read_image(media) if name == "a.jpg" else probe(media)
        assert f": it {CONTENTS[content]}" in str(failure.value)


def test_films_that_are_cut_off(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (16, 64, 64, 3), np.uint8)
    encode(tmp_path / "film.mp4", noise, 8.0)
    content = (tmp_path / "film.mp4").read_bytes()
    assert what_is_wrong(tmp_path / "film.mp4") is None
    part = tmp_path / "part.mp4"
    part.write_bytes(content[: len(content) // 2])
    with pytest.raises(
        ItemError, match=rf"it is cut off: {len(content) // 2} of at least \d+ bytes are there"
    ):
        probe(part)
    for missing in range(200, 1500, 50):  # of the index, whose last box is the muxer's name
        part.write_bytes(content[:-missing])
        with pytest.raises(ItemError, match=r"it is cut off: \d+ of at least \d+ bytes are there"):
            clips_in(part, "short-videos")
    start = content.index(b"moov") - 4
    part.write_bytes(content[:start])  # as a camera leaves it whose battery ends
    with pytest.raises(
        ItemError, match=r"it has no index \(moov\): it was not written or downloaded to its end"
    ):
        probe(part)


@pytest.mark.parametrize(
    "content", [b"\xff\xd8\xff\xe0 of no use", b"\0\0\0\x18ftypmp42\0\0\0\0", b"\x89PNG\r\n\x1a\n\xff"]
)
def test_of_other_bytes_nothing_is_made_up(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    assert what_is_wrong(tmp_path / "a") in (None, "is cut off: 16 of at least 24 bytes are there")
    assert what_is_wrong(tmp_path / "missing") is None
