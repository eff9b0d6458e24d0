"""The readers: whatever lies in a corpus becomes a record, with its problem where it has one."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as checks
from hypothesis import strategies as st
from PIL import Image

from tasks.corpora.corpus import Corpus
from tasks.corpora.entry import normalise_caption
from tasks.corpora.class_folders import label_words
from tasks.corpora.readers import read_sources
from tasks.corpora.records import CaptionSpan, SourceRecord, captions_for_span

SHARED_MEDIA = Path(__file__).parents[1].parent / "shared/media"


def _corpus(path: Path, kind: str = "images", layout: str = "folder", **more: str) -> Corpus:
    table = {"name": "c", "kind": kind, "format": layout, "path": path, "licence": "CC0-1.0", **more}
    return Corpus.model_validate(table)


def _read(path: Path, kind: str = "images", layout: str = "folder", **more: str) -> dict[str, SourceRecord]:
    records = list(read_sources(_corpus(path, kind, layout, **more)))
    assert len({record.source_id for record in records}) == len(records)
    return {record.uri: record for record in records}


def _image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)
    return path


def test_folder_takes_captions_from_manifest_and_side_cars(tmp_path: Path) -> None:
    for name in ("a.png", "deep/b.JPG", "c.png", "d.png"):
        _image(tmp_path / name)
    (tmp_path / "c.txt").write_text("  two\n words ")
    (tmp_path / "manifest.tsv").write_text(
        'file\tcaption\tlicence\n./a.png\ta 5" pipe\tCC-BY\ndeep//b.JPG\tb\t\ngone.png\tgone\t\n'
    )
    records = _read(tmp_path)
    assert list(records) == ["a.png", "c.png", "d.png", "deep/b.JPG", "gone.png"]
    assert records["a.png"].captions == (CaptionSpan('a 5" pipe'),)
    assert records["a.png"].licence == "CC-BY" and records["c.png"].licence == "CC0-1.0"
    assert records["c.png"].captions == (CaptionSpan("two words", given="  two\n words "),)
    assert records["a.png"].problem is None and records["a.png"].size_bytes > 0
    assert records["a.png"].mtime_ns == (tmp_path / "a.png").stat().st_mtime_ns
    assert "no caption" in str(records["d.png"].problem)
    assert records["gone.png"].problem == "no such file"


def test_identity_does_not_depend_on_where_the_corpus_lies(tmp_path: Path) -> None:
    for place in ("here", "there/inside"):
        _image(tmp_path / place / "a.png")
    (here,), (there,) = (_read(tmp_path / place).values() for place in ("here", "there/inside"))
    assert here.source_id == there.source_id and here.place != there.place


@pytest.mark.parametrize(
    "file", ["../secret.png", "/etc/hostname", "x/../../secret.png", "link.png", "../gone.png"]
)
def test_nothing_outside_the_corpus_is_read(tmp_path: Path, file: str) -> None:
    _image(tmp_path / "secret.png")
    root = tmp_path / "corpus"
    _image(root / "x/a.png")
    (root / "link.png").symlink_to("../secret.png")
    (root / "manifest.tsv").write_text(f"file\tcaption\n{file}\tstolen\n")
    (root / "list.csv").write_text(f"file,caption\n{file},stolen\n")
    assert _read(root)[file].problem == "lies outside its corpus"
    assert _read(root / "list.csv", layout="csv")[file].problem == "lies outside its corpus"


def test_odd_files_are_problems_not_exceptions(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "one.png").symlink_to("two.png")
    (tmp_path / "two.png").symlink_to("one.png")
    (tmp_path / "loop").symlink_to(".")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "manifest.tsv").write_text("file\tcaption\nfolder.png\tf\none.png\to\npipe.png\tp\n\tempty\n")
    records = _read(tmp_path)
    assert set(records) == {"folder.png", "one.png", "two.png", "pipe.png"}
    assert all(record.problem for record in records.values())


def test_names_that_are_no_utf8_can_be_read_and_stored(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.png"
    os.rename(_image(tmp_path / "a.png"), raw)
    with open(raw.replace(b".png", b".txt"), "w") as file:
        file.write("coffee")
    (record,) = _read(tmp_path).values()
    assert record.uri == "caf\\xe9.png" and record.problem is None
    record.uri.encode()
    assert os.fsencode(record.place.url) == raw


def test_spans_and_bad_rows(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "manifest.csv").write_text(
        'file,caption,start_s,end_s\na.mp4,"one, two",0,1.5\na.mp4,three,1.5,\nb.mp4,x,2,1\nb.mp4,y,soon,\n'
    )
    records = _read(tmp_path, "long-videos")
    assert records["a.mp4"].captions == (CaptionSpan("one, two", 0, 1.5), CaptionSpan("three", 1.5, None))
    assert "start_s is not a number" in str(records["b.mp4"].problem)


def test_csv_reads_webvid(tmp_path: Path) -> None:
    for place in ("p1/11.mp4", "videos/p1/12.mp4", "13.mp4"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(b"x")
    (tmp_path / "webvid.csv").write_text(
        "videoid,contentUrl,duration,page_dir,name\n"
        + "".join(f"{n},https://example.org/{n}.mp4,PT1S,p1,clip {n}\n" for n in (11, 12, 13, 14))
    )
    records = _read(tmp_path / "webvid.csv", "short-videos", "csv")
    assert list(records) == [f"p1/{n}.mp4" for n in (11, 12, 13, 14)]
    assert [record.problem for record in records.values()] == [None, None, None, "no such file"]
    assert records["p1/12.mp4"].captions == (CaptionSpan("clip 12"),)


def test_class_folders(tmp_path: Path) -> None:
    for place in ("ApplyEyeMakeup/v_1.avi", "train/tai chi/2.mp4", "stray.avi"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(b"x")
    (tmp_path / "ucfTrainTestlist").mkdir()
    (tmp_path / "ucfTrainTestlist/classInd.txt").write_text("1 ApplyEyeMakeup\n")
    records = _read(tmp_path, "short-videos", "class-folders", prompt_template="a video of {label}")
    captions = {uri: [caption.text for caption in record.captions] for uri, record in records.items()}
    assert captions == {
        "ApplyEyeMakeup/v_1.avi": ["a video of apply eye makeup"],
        "stray.avi": [],
        "train/tai chi/2.mp4": ["a video of tai chi"],
    }
    assert {record.caption_origin for record in records.values()} == {"label"}
    assert "no label" in str(records["stray.avi"].problem)


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("ApplyEyeMakeup", "apply eye makeup"),
        ("YoYo", "yo yo"),
        ("playing_violin", "playing violin"),
        ("TVShow", "tv show"),
        ("Pull-Ups", "pull ups"),
        ("abseiling", "abseiling"),
    ],
)
def test_label_words(label: str, words: str) -> None:
    assert label_words(label) == words


def test_shared_media_are_read_with_their_captions_and_licences() -> None:
    if not SHARED_MEDIA.exists():
        pytest.skip("../shared/media is not here")
    images = _read(SHARED_MEDIA / "images")
    assert len(images) == 9 and not any(record.problem for record in images.values())
    assert images["china.jpg"].licence == "CC-BY"
    videos = _read(SHARED_MEDIA / "videos", "short-videos")
    assert len(videos) == 6 and not any(record.problem for record in videos.values())


@checks(deadline=None)  # a busy machine is no failure
@given(st.text())
def test_captions_become_one_short_printable_line(text: str) -> None:
    caption = normalise_caption(text)
    assert caption == normalise_caption(caption)
    assert len(caption) <= 1000 and len(caption.splitlines()) <= 1 and caption == caption.strip()
    caption.encode()


spans = st.tuples(st.floats(0, 100), st.floats(0.01, 50)).map(lambda s: (s[0], s[0] + s[1]))


@checks(deadline=None)  # a busy machine is no failure
@given(st.lists(spans, max_size=8), spans)
def test_a_shot_takes_the_caption_that_overlaps_it_most(caption_spans: list, shot: tuple) -> None:
    captions = [CaptionSpan(str(i), start_s, end_s) for i, (start_s, end_s) in enumerate(caption_spans)]
    overlaps = [min(end_s, shot[1]) - max(start_s, shot[0]) for start_s, end_s in caption_spans]
    taken = captions_for_span(captions, *shot)
    if not taken:
        assert all(overlap <= 0 for overlap in overlaps)
    else:
        assert len(taken) == 1 and overlaps[int(taken[0].text)] == max(overlaps) > 0
    untimed = (CaptionSpan("whole"), CaptionSpan("all of it"))
    assert captions_for_span([*captions, *untimed], *shot) == (taken or untimed)
