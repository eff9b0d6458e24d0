"""Tars as webdataset writes them, and tars as attackers and broken disks leave them."""

import io
import json
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset
from hypothesis import given
from hypothesis import settings as checks
from hypothesis import strategies as st
from PIL import Image

from tasks.clips.images import read_image
from tasks.clips.video_io import encode
from tasks.corpora.corpus import Corpus
from tasks.corpora.look import look_at
from tasks.corpora.media import open_media
from tasks.corpora.records import CaptionSpan
from tasks.errors import RequestError
from tests.corpus_records import problems, read_records, write_image


def _read(path: Path, kind: str = "images") -> dict:
    return read_records(path, kind, "webdataset")


def _tar(path: Path, members: dict[str, bytes], **types: Any) -> Path:
    """A tar of these members; a type by a name makes a link or a device of it."""
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.type = types.get(name.split(".")[0], tarfile.REGTYPE)
            if info.type == tarfile.REGTYPE:
                info.size = len(content)
            else:
                info.linkname = "/etc/hostname"
            tar.addfile(info, io.BytesIO(content))
    return path


def test_what_webdataset_writes(tmp_path: Path) -> None:
    image = write_image(tmp_path / "in/a.png", shade=7).read_bytes()
    samples = [
        {"png": image, "txt": "  one\n", "json": {"caption": "never", "key": "000000000"}},
        {"png": image, "json": {"caption": "two", "key": "000000001", "status": "success"}},
        {"json": {"caption": "three", "status": "failed_to_download"}},
        {"png": image, "seg.png": image, "txt": "four"},
        {"png": image},
    ]
    for shard in ("00000.tar", "00001.tar"):
        with webdataset.TarWriter(str(tmp_path / shard)) as writer:
            for number, sample in enumerate(samples):
                writer.write({"__key__": f"{number:09}", **sample})
    records = _read(tmp_path)
    assert list(_read(tmp_path / "00001.tar")) == list(records)[4:]
    keys = ["000000000", "000000001", "000000003", "000000004"]
    assert list(records) == [f"{shard}/{key}.png" for shard in ("00000.tar", "00001.tar") for key in keys]
    assert records["00000.tar/000000000.png"].captions == (CaptionSpan("one", given="  one\n"),)
    assert records["00000.tar/000000001.png"].captions == (CaptionSpan("two"),)
    assert records["00000.tar/000000003.png"].captions == (CaptionSpan("four"),)
    assert "no caption" in str(records["00000.tar/000000004.png"].problem)
    place = records["00001.tar/000000003.png"].place
    assert place.size == len(image)
    with open_media(place) as media:
        assert (np.asarray(read_image(media).picture) == 7).all()
    with open_media(place) as media:
        assert not isinstance(media, str) and media.read() == image


def test_members_that_reach_outside_are_problems(tmp_path: Path) -> None:
    names = ["../up.png", "/root.png", "in/../../x.png", "link.png", "hard.png", "device.png", "good.png"]
    members = {name: b"x" for name in names} | {"good.txt": b"fine", "../up.txt": b"x", "hidden/.a.png": b"x"}
    types = {"link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE, "device": tarfile.CHRTYPE}
    found = problems(_read(_tar(tmp_path / "t.tar", members, **types)))
    assert found.pop("t.tar/good.png") is None
    assert set(found) == {f"t.tar/{name}" for name in names} - {"t.tar/good.png"}
    for name in names[:3]:
        assert found[f"t.tar/{name}"] == "lies outside its corpus"
    for name in names[3:6]:
        assert found[f"t.tar/{name}"] == "is not a regular file in its tar"
    assert [path.name for path in tmp_path.iterdir()] == ["t.tar"]


def test_a_truncated_tar_gives_its_whole_members(tmp_path: Path) -> None:
    members = {}
    for number in range(3):
        members |= {f"{number}.png": bytes([number]) * 2000, f"{number}.txt": b"words"}
    content = _tar(tmp_path / "whole.tar", members).read_bytes()
    (tmp_path / "whole.tar").unlink()
    # A member is a block of header and its data in whole blocks: 5 for an image, 2 for a text.
    for blocks, whole in ((0, 0), (3, 0), (5, 1), (7, 1), (7.5, 1), (10, 1), (14, 2), (21, 3)):
        (tmp_path / "cut.tar").write_bytes(content[: int(blocks * 512)])
        found = problems(_read(tmp_path))
        assert "not a whole tar" in str(found.pop("cut.tar"))
        assert len(found) == whole, blocks


def test_tars_that_are_none(tmp_path: Path) -> None:
    _tar(tmp_path / "empty.tar", {})
    assert _read(tmp_path) == {}
    (tmp_path / "noise.tar").write_bytes(b"noise" * 1000)
    (tmp_path / "folder.tar").mkdir()
    (tmp_path / "link.tar").symlink_to("/etc/hostname")
    found = problems(_read(tmp_path))
    assert "not a whole tar" in str(found["noise.tar"])
    assert found["link.tar"] == "lies outside its corpus" and len(found) == 2
    (tmp_path / "00000.tar.gz").write_bytes(b"")
    for path in (tmp_path, tmp_path / "00000.tar.gz"):
        with pytest.raises(RequestError, match=r"00000\.tar\.gz: compressed tars are not read"):
            _read(path)


def test_a_tar_that_the_user_names_may_be_a_link(tmp_path: Path) -> None:
    _tar(tmp_path / "far.tar", {"a.png": b"x", "a.txt": b"a"})
    (tmp_path / "here").mkdir()
    (tmp_path / "here/link.tar").symlink_to("../far.tar")
    assert problems(_read(tmp_path / "here/link.tar")) == {"link.tar/a.png": None}
    assert problems(_read(tmp_path / "here")) == {"link.tar": "lies outside its corpus"}


def test_broken_fields_count_where_there_is_no_text(tmp_path: Path) -> None:
    members = {f"{key}.png": b"x" for key in "abcd"} | {"a.json": b"{", "b.json": b"[1]", "c.json": b"\xff"}
    members |= {"a.txt": b"fine", "d.json": json.dumps({"caption": "half \ud800 pair"}).encode()}
    records = _read(_tar(tmp_path / "t.tar", members))
    assert [record.problem is None for record in records.values()] == [True, False, False, True]
    assert "c.json" in str(records["t.tar/c.png"].problem)
    (caption,) = records["t.tar/d.png"].captions
    assert caption.text == "half pair" and (caption.given or "").encode()


def test_fields_of_an_odd_name_are_named_as_text(tmp_path: Path) -> None:
    odd = b"caf\xe9".decode("utf-8", "surrogateescape")
    (record,) = _read(_tar(tmp_path / "t.tar", {f"{odd}.png": b"x", f"{odd}.json": b"{"})).values()
    assert r"caf\xe9.json" in str(record.problem) and str(record.problem).encode()


def test_of_several_compressed_tars_the_first_is_named(tmp_path: Path) -> None:
    for letter in "zyxwvutsrqponmlkjihgfedcba":
        (tmp_path / f"{letter}.tar.gz").touch()
    with pytest.raises(RequestError, match=r"/a\.tar\.gz: compressed tars are not read"):
        _read(tmp_path)


def test_only_headers_are_read(tmp_path: Path) -> None:
    members = {f"{number}.png": bytes(1_000_000) for number in range(20)} | {"0.txt": b"zero"}
    path = _tar(tmp_path / "t.tar", members)
    before = _bytes_read()
    assert len(_read(path)) == 20
    assert _bytes_read() - before < path.stat().st_size / 20


def _bytes_read() -> int:
    """All bytes that this process has read."""
    try:
        return int(Path("/proc/self/io").read_text().split()[1])
    except OSError:
        pytest.skip("no /proc/self/io here")


FIELD = Path(__file__).parents[1].parent / "shared/media/field/webdataset"


def _words(records: dict) -> dict[str, str]:
    """The captions of each source, or what is wrong with it."""
    return {
        uri.removeprefix("t.tar/"): str(
            record.problem or "|".join(caption.text for caption in record.captions)
        )
        for uri, record in records.items()
    }


def _ordered(path: Path, *members: tuple[str, bytes]) -> Path:
    """A tar of these members in their order, names among them twice."""
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_a_key_ends_at_the_first_dot_of_the_base_name(tmp_path: Path) -> None:
    texts = {
        "22.0/1.1.txt": b"one",
        "22.0/1.2.txt": b"two",
        "x.txt": b"x",
        "./d.e/3.txt": b"three",
        "22.txt": b"no",
    }
    names = ("22.0/1.1.png", "22.0/1.2.png", "22.0/1.3.png", "x.seg.jpg", "./d.e/3.png", "22.0/22.png")
    found = _words(_read(_tar(tmp_path / "t.tar", dict.fromkeys(names, b"x") | texts)))
    assert found.pop("22.txt").startswith("words without an image")
    assert found.pop("22.0/1.3.png").startswith("no caption") and found.pop("22.0/22.png").startswith(
        "no caption"
    )
    assert found == {"22.0/1.1.png": "one", "22.0/1.2.png": "two", "x.seg.jpg": "x", "./d.e/3.png": "three"}


def test_upper_case_and_where_words_are(tmp_path: Path) -> None:
    members = {"Q.PNG": b"x", "Q.TXT": b"cap Q", "r.png": b"x", "r.Caption": b"cap r", "s.Jpeg": b"x"}
    members |= {
        "s.JSON": b'\xef\xbb\xbf{"text": "cap s"}',
        "l.png": b"x",
        "l.json": b'{"caption": ["one", "two"]}',
    }
    members |= {
        "n.png": b"x",
        "n.json": b'{"caption": null, "text": "cap n"}',
        "u.jpg": b"x",
        "u.png": b"x",
        "u.txt": b"u",
    }
    found = _words(_read(_tar(tmp_path / "t.tar", members)))
    assert found == {
        "Q.PNG": "cap Q",
        "l.png": "one|two",
        "n.png": "cap n",
        "r.png": "cap r",
        "s.Jpeg": "cap s",
        "u.jpg": "u",
        "u.png": "u",
    }


def test_of_a_doubled_key_no_caption_crosses_over(tmp_path: Path) -> None:
    pair = (("2.png", b"first!"), ("2.txt", b"first"), ("2.png", b"second"), ("2.txt", b"second"))
    for order in ((0, 1, 2, 3), (0, 2, 1, 3)):
        records = _read(_ordered(tmp_path / "t.tar", *(pair[index] for index in order)))
        assert _words(records) == {
            "2.png": "second",
            "2.png (1)": "is in its tar 2 times; the last one counts",
        }
        with open_media(records["t.tar/2.png"].place) as media:
            assert not isinstance(media, str) and media.read() == b"second"
    for left_out in range(4):
        members = [member for index, member in enumerate(pair) if index != left_out]
        records = _read(_ordered(tmp_path / "t.tar", *members, ("3.png", b"x"), ("3.txt", b"three")))
        assert _words(records).pop("3.png") == "three"
        assert "which belong together is not to be told" in _words(records)["2.png"]
        assert not any(record.captions for uri, record in records.items() if "2.png" in uri)


def test_members_without_a_partner_are_named(tmp_path: Path) -> None:
    members = {"a.txt": b"words", "b.json": b'{"caption": "words"}', "c.json": b'{"shard": 3}', "d.png": b"x"}
    members |= {
        "e.json": b'{"caption": "words", "status": "failed_to_download"}',
        "f.mp4": b"x",
        "f.txt": b"video",
    }
    members |= {"g.json": b"{"}
    found = _words(_read(_tar(tmp_path / "t.tar", members)))
    assert set(found) == {"a.txt", "b.json", "d.png"}
    assert {found[name][:22] for name in ("a.txt", "b.json")} == {"words without an image"}
    assert _words(_read(tmp_path / "t.tar", "short-videos"))["f.mp4"] == "video"


def test_members_that_nobody_looks_at_are_counted(tmp_path: Path) -> None:
    failed = b'{"caption": "words", "status": "failed_to_download"}'
    members = {
        "a.png": b"x",
        "a.txt": b"one",
        "a.json": b"{}",
        "a.seg.png": b"x",
        "a.npy": b"x",
        "a.cls": b"0",
    }
    members |= {
        "b.npy": b"x",
        "b.txt": b"of an array",
        "c.json": failed,
        "d.json": b'{"shard": 3}',
        "e": b"x",
    }
    members |= {"f.mp4": b"a film", "f.txt": b"of a film", "dir/.cache/g.png": b"x"}
    _tar(tmp_path / "t.tar", members)
    (tmp_path / "t_stats.json").write_text("{}")
    (tmp_path / "t.parquet").write_bytes(b"x")
    table = {"name": "c", "kind": "images", "format": "webdataset", "path": tmp_path, "licence": "MIT"}
    (look,) = look_at([Corpus.model_validate(table)])
    assert look.sources == 1
    in_tar = {".png": 2, ".npy": 2, ".cls": 1, ".txt": 2, ".json": 2, ".mp4": 1, "no suffix": 1}
    assert look.ignored == Counter(in_tar) + Counter({".json": 1, ".parquet": 1})
    assert any(line.startswith("  passed by: 3 .json, 2 ") for line in look.as_lines())
    table |= {"path": tmp_path / "t.tar"}
    assert look_at([Corpus.model_validate(table)])[0].ignored == in_tar


def test_a_member_is_what_its_bytes_are(tmp_path: Path) -> None:
    """As files are: a film called `.jpg`, an animation called `.png`, a picture called `.mp4`."""
    still, moving, film = io.BytesIO(), io.BytesIO(), io.BytesIO()
    pictures = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    pictures[0].save(still, "PNG")
    pictures[0].save(moving, "WEBP", save_all=True, append_images=pictures[1:])
    encode(film, np.zeros((16, 32, 32, 3), np.uint8), 8.0)
    members = {"a.jpg": film, "b.webp": moving, "c.mp4": still, "d.jpg": still, "e.mp4": film}
    files = {name: content.getvalue() for name, content in members.items()}
    files |= {f"{name[0]}.txt": b"words" for name in members}
    _tar(tmp_path / "t.tar", files)
    assert {uri[6:] for uri in _read(tmp_path, "short-videos")} == {"a.jpg", "b.webp", "c.mp4", "e.mp4"}
    # Whatever has an image's suffix is tried as one: animations show their first frame.
    images = _read(tmp_path)
    assert {uri[6:] for uri in images} == {"a.jpg", "b.webp", "c.mp4", "d.jpg"}
    with open_media(images["t.tar/c.mp4"].place) as media:
        assert np.asarray(read_image(media).picture)[0, 0].tolist() == [255, 0, 0]


def test_the_field_folder() -> None:
    if not FIELD.exists():
        pytest.skip("../shared/media/field is not here")
    found = {uri.removeprefix("img.tar/"): words for uri, words in _words(_read(FIELD / "img.tar")).items()}
    right = {
        "22.0/1.1.png": "cap 1.1",
        "22.0/1.2.png": "cap 1.2",
        "x.seg.jpg": "cap x",
        "./0001.png": "cap 0001",
    }
    right |= {"0002.png": "second 0002", "Q.PNG": "cap Q", "m.png": "a dog’s", "n.png": "bom json"}
    right |= {"o.png": "list a|list b", "a.jpg": "shared a", "a.png": "shared a", "k.jpg": "x"}
    right |= {"p.input.png": "cap p", "p.output.png": "cap p"}
    assert {name: found[name] for name in right} == right
    assert "no caption" in found["w.png"] and "the last one counts" in found["0002.png (1)"]
    assert not any(part in name for name in found for part in ("._", "DS_Store", "Thumbs", "MACOSX"))


names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=120)


@checks(deadline=None, max_examples=50)  # a busy machine is no failure
@given(st.dictionaries(names.map(lambda name: name + ".png"), st.binary(max_size=600), max_size=5), st.data())
def test_any_tar_is_read(
    tmp_path_factory: pytest.TempPathFactory, members: dict, data: st.DataObject
) -> None:
    path = _tar(tmp_path_factory.mktemp("tars") / "t.tar", members)
    for record in _read(path).values():
        record.uri.encode()
        with open_media(record.place) as media:
            assert not isinstance(media, str) and media.read() in members.values()
    content = bytearray(path.read_bytes())
    for _ in range(3):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    _read(path)
