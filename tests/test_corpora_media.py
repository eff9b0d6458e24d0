"""Bytes of sources: parts of files as files, digests, files that have vanished."""

import hashlib
import io
import os
import tarfile
from pathlib import Path

import av
import fsspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.clips.reading import frame_times
from tasks.clips.video_io import encode, iter_frames
from tasks.corpora.file_slice import FileSlice
from tasks.corpora.media import content_digest, media_name, open_media
from tasks.corpora.records import MediaPlace
from tasks.errors import ItemError
from tests.corpus_records import read_records

SHARED_MEDIA = Path(__file__).parents[1].parent / "shared/media"
CONTENT = bytes(range(200))


@given(
    st.integers(0, 200),
    st.integers(0, 200),
    st.lists(st.tuples(st.sampled_from(["seek", "end", "read", "all"]), st.integers(-20, 220)), max_size=12),
)
def test_a_part_is_a_file_of_its_own(offset: int, size: int, steps: list[tuple[str, int]]) -> None:
    size = min(size, 200 - offset)
    part = FileSlice(io.BytesIO(CONTENT), "part", offset, size)
    same = io.BytesIO(CONTENT[offset : offset + size])
    for step, number in steps:
        if step == "read":
            assert part.read(abs(number)) == same.read(abs(number))
        elif step == "all":
            assert part.read() == same.read()
        elif step == "seek" and number >= 0:
            assert part.seek(number) == same.seek(number)
        elif step == "end" and number <= 0:
            assert part.seek(max(number, -size), os.SEEK_END) == same.seek(max(number, -size), os.SEEK_END)
        assert part.tell() == same.tell()


def test_a_video_is_decoded_inside_another_file(tmp_path: Path) -> None:
    frames_nhwc = np.random.default_rng(0).integers(0, 255, (6, 32, 48, 3), np.uint8)
    encode(tmp_path / "a.mp4", frames_nhwc, 8.0)
    video = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "shard.tar").write_bytes(b"before" * 100 + video + b"after" * 1000)
    place = MediaPlace(str(tmp_path / "shard.tar"), offset=600, size=len(video))
    with open_media(place) as media:
        assert media_name(media) == "shard.tar@600"
        decoded = np.stack([frame for _, frame in iter_frames(media)])
    assert np.array_equal(decoded, np.stack([frame for _, frame in iter_frames(tmp_path / "a.mp4")]))
    assert content_digest(place) == content_digest(MediaPlace(str(tmp_path / "a.mp4")))
    assert content_digest(place) == hashlib.blake2b(video, digest_size=16).hexdigest()


def test_real_videos_are_read_inside_a_tar(tmp_path: Path) -> None:
    videos = sorted((SHARED_MEDIA / "videos").glob("*.m*"))
    if not videos:
        pytest.skip("../shared/media is not here")
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        for video in videos:
            tar.add(video, video.name)
    records = read_records(tmp_path, "long-videos", "webdataset")
    for video in videos:
        with open_media(records[f"0.tar/{video.name}"].place) as media:
            assert frame_times(media) == frame_times(video)


def test_a_part_that_was_cut_off_is_an_item_error(tmp_path: Path) -> None:
    (tmp_path / "shard.tar").write_bytes(bytes(1000))
    place = MediaPlace(str(tmp_path / "shard.tar"), offset=600, size=800)
    with pytest.raises(ItemError, match="it ends too early") as caught:
        content_digest(place)
    assert caught.value.stage == "read"
    # libav hands the error through, so it keeps its stage.
    with pytest.raises(ItemError, match="it ends too early"), open_media(place) as media:
        av.open(media)


@pytest.mark.parametrize("more", [{}, {"offset": 0, "size": 3}, {"row": 0, "column": "bytes"}])
def test_what_has_vanished_is_an_item_error(tmp_path: Path, more: dict) -> None:
    for url in (str(tmp_path / "gone.mp4"), "memory://nowhere/gone.mp4"):
        for read in (content_digest, lambda place: open_media(place).__enter__()):
            with pytest.raises(ItemError, match=r"gone\.mp4: ") as caught:
                read(MediaPlace(url, **more))
            assert caught.value.stage == "read"


def test_what_is_no_file_is_an_item_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "folder.mp4").mkdir()
    for name in ("pipe.mp4", "folder.mp4"):
        with pytest.raises(ItemError, match="is not a regular file"):
            content_digest(MediaPlace(str(tmp_path / name)))


def test_files_at_addresses_have_names_and_digests() -> None:
    fsspec.filesystem("memory").pipe("/media-test/a b#1.bin", CONTENT)
    place = MediaPlace("memory://media-test/a b#1.bin")
    with open_media(place) as media:
        assert media_name(media) == "a b#1.bin"
    assert content_digest(place) == hashlib.blake2b(CONTENT, digest_size=16).hexdigest()
    part = MediaPlace(place.url, offset=10, size=20)
    assert content_digest(part) == hashlib.blake2b(CONTENT[10:30], digest_size=16).hexdigest()
    assert media_name(io.BytesIO()) == "file in memory"
