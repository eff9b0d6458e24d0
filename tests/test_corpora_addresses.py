"""Corpora at addresses: every layout in a real S3 server's bucket and in memory, and what can go wrong there."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import s3fs

from tasks.clips.from_source import clips_of
from tasks.clips.images import read_image
from tasks.clips.settings import ClipSettings
from tasks.clips.video_io import encode
from tasks.corpora.config import load_corpora
from tasks.corpora.media import content_digest, open_media
from tasks.corpora.records import CaptionSpan, MediaPlace
from tasks.errors import ItemError, RequestError
from tests.corpus_records import problems, read_records, write_image


@pytest.fixture(params=["s3", "memory"])
def store(request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty place in either store."""
    if request.param == "s3":
        yield request.getfixturevalue("s3")
    else:
        yield "memory://bucket"
        fsspec.filesystem("memory").rm("/bucket", recursive=True)


def _put(address: str, files: dict[str, bytes]) -> str:
    fs, root = fsspec.core.url_to_fs(address)
    for name, content in files.items():
        fs.pipe(f"{root}/{name}", content)
    return address


@pytest.fixture
def image(tmp_path: Path) -> bytes:
    return write_image(tmp_path / "image/a.png", shade=9).read_bytes()


def _all_nines(place: MediaPlace) -> bool:
    with open_media(place) as media:
        return bool((np.asarray(read_image(media).picture) == 9).all())


def test_a_folder(store: str, image: bytes) -> None:
    files = {
        "photos/b.png": image,
        "photos/a#1 ?.png": image,
        "photos/deep/c.png": image,
        "photos/deep/c.txt": b"see",
        "photos/none.png": image,
        "photos/.hidden.png": image,
        "photos-2/d.png": image,
        "photos/manifest.tsv": b"file\tcaption\nb.png\tbee\na#1 ?.png\tay\n../photos-2/d.png\tx\ngone.png\tx\n",
    }
    _put(store, files)
    records = read_records(f"{store}/photos")
    found = problems(records)
    assert found.pop("../photos-2/d.png") == "lies outside its corpus"
    assert found.pop("gone.png") == "no such file"
    assert "no caption" in str(found.pop("none.png"))
    assert found == dict.fromkeys(("a#1 ?.png", "b.png", "deep/c.png"))
    assert records["deep/c.png"].captions == (CaptionSpan("see"),)
    for uri in found:
        assert records[uri].place.url == f"{store}/photos/{uri}"
        assert records[uri].size_bytes == len(image) and records[uri].mtime_ns > 1.5e18
        assert _all_nines(records[uri].place)
    assert read_records(f"{store}/photos/") == records


def test_a_changed_bucket_is_seen(store: str, image: bytes) -> None:
    _put(store, {"photos/a.png": image, "photos/a.txt": b"a"})
    before = read_records(f"{store}/photos")
    _put(store, {"photos/a.png": image + b"more", "photos/b.png": image})
    after = read_records(f"{store}/photos")
    assert list(after) == ["a.png", "b.png"] and after["a.png"].size_bytes == before["a.png"].size_bytes + 4
    fsspec.filesystem(store.split(":")[0]).rm(f"{store}/photos/a.png")
    with pytest.raises(ItemError, match=r"a\.png: no such file"):
        content_digest(before["a.png"].place)


def test_tables(store: str, image: bytes) -> None:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"image": [image] * 3, "caption": ["x", "y", "z"]}), buffer, row_group_size=1)
    csv = b"videoid,contentUrl,page_dir,name\n1,http://x/1,p,one\n2,http://x/2,p,two\n"
    files = {"t/part.parquet": buffer.getvalue(), "t/list.csv": csv, "t/videos/p/1.mp4": b"x"}
    _put(store, files)
    rows = read_records(f"{store}/t", layout="parquet")
    assert rows == read_records(f"{store}/t/part.parquet", layout="parquet") and len(rows) == 3
    assert _all_nines(rows["part.parquet#2"].place)
    listed = read_records(f"{store}/t/list.csv", "short-videos", "csv")
    assert problems(listed) == {"p/1.mp4": None, "p/2.mp4": "no such file"}


def test_tars_and_class_folders(store: str, image: bytes) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in {"0.png": image, "0.txt": b"zero", "1.png": image, "1.txt": b"one"}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    lists = {"ucfTrainTestlist/trainlist01.txt": b"YoYo/1.avi 1\n", "ucfTrainTestlist/testlist01.txt": b""}
    _put(store, {"shards/00.tar": buffer.getvalue(), "UCF-101/YoYo/1.avi": b"x", **lists})
    shards = read_records(f"{store}/shards", layout="webdataset")
    assert shards == read_records(f"{store}/shards/00.tar", layout="webdataset")
    assert problems(shards) == {"00.tar/0.png": None, "00.tar/1.png": None}
    assert _all_nines(shards["00.tar/1.png"].place)
    (video,) = read_records(f"{store}/UCF-101", "short-videos", "class-folders").values()
    assert video.split == "train" and video.captions == (CaptionSpan("yo yo"),)


def test_clips_of_a_video_in_a_bucket_are_those_of_the_file(s3: str, tmp_path: Path) -> None:
    frames_nhwc = np.random.default_rng(0).integers(0, 255, (16, 32, 48, 3), np.uint8)
    encode(tmp_path / "a.mp4", frames_nhwc, 8.0)
    files = {"a.mp4": (tmp_path / "a.mp4").read_bytes(), "a.txt": b"noise"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    _put(s3, {f"videos/{name}": content for name, content in files.items()})
    (here,) = read_records(tmp_path, "short-videos").values()
    (there,) = read_records(f"{s3}/videos", "short-videos").values()
    assert here.source_id == there.source_id and content_digest(here.place) == content_digest(there.place)
    ours, theirs = (list(clips_of(source, ClipSettings())) for source in (here, there))
    assert [clip.clip_id for clip in ours] == [clip.clip_id for clip in theirs] and ours
    assert all(np.array_equal(a.frames_nhwc, b.frames_nhwc) for a, b in zip(ours, theirs, strict=True))


def _load(folder: Path, path: str) -> list[Any]:
    table = f'[[corpus]]\nname = "far"\nkind = "images"\nformat = "folder"\npath = "{path}"\nlicence = "x"\n'
    (folder / "corpora.toml").write_text(table)
    return load_corpora(folder / "corpora.toml")


def test_a_corpora_file_names_addresses(s3: str, tmp_path: Path, image: bytes) -> None:
    _put(s3, {"photos/a.png": image})
    (corpus,) = _load(tmp_path, "s3://bucket/photos")
    assert corpus.path == "s3://bucket/photos"
    (tmp_path / "photos").mkdir()
    write_image(tmp_path / "photos/a.png")
    (corpus,) = _load(tmp_path, f"file://{tmp_path}/photos")
    assert corpus.path == tmp_path / "photos"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("s3://bucket/nothing", "does not exist"),
        ("s3://no-such-bucket/photos", "does not exist"),
        ("s3://no-such-bucket", "does not exist"),
        ("memory://nowhere", "does not exist"),
        ("gopher://bucket", "gopher"),
    ],
)
def test_what_is_not_there_is_one_line(s3: str, tmp_path: Path, path: str, said: str) -> None:
    with pytest.raises(RequestError) as caught:
        _load(tmp_path, path)
    message = str(caught.value)
    assert path in message and said in message and "'far'" in message and "\n" not in message


def test_no_credentials_is_one_line(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("HOME", str(tmp_path))
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(RequestError, match=r"s3://bucket/photos: cannot be reached: .*credentials"):
        _load(tmp_path, "s3://bucket/photos")
    with pytest.raises(ItemError, match=r"a\.png: cannot be read: .*credentials"):
        content_digest(MediaPlace("s3://bucket/photos/a.png"))


def test_an_unreachable_server_is_one_line(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # the discard port: nobody listens
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(RequestError, match="s3://bucket/photos: cannot be reached: Could not connect"):
        _load(tmp_path, "s3://bucket/photos")
