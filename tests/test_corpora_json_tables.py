"""JSON and JSON Lines tables, as trainers and captioners of others write them: each file has its own words."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as checks
from hypothesis import strategies as st

from tasks.corpora.json_tables import MAX_WHOLE_BYTES
from tasks.corpora.records import CaptionSpan
from tasks.errors import RequestError
from tests.corpus_records import problems, read_records, write_image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "sub/c.png"):
        write_image(tmp_path / "photos" / name)
    (tmp_path / "photos/d.mp4").touch()
    return tmp_path / "photos"


def _lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _words(path: Path, kind: str = "images", **more: str) -> dict[str, list[str]]:
    records = read_records(path, kind, "jsonl", **more)
    assert not any(problems(records).values()), problems(records)
    return {uri: [caption.text for caption in record.captions] for uri, record in records.items()}


@pytest.mark.parametrize("key", ["image_path", "file", "file_name", "path", "image"])
@pytest.mark.parametrize("words", ["caption", "text"])
def test_musubi_and_others(folder: Path, key: str, words: str) -> None:
    rows = [{key: "a.png", words: "a red circle"}, {key: "./sub//c.png", words: ["one", "two"]}]
    path = _lines(folder / "t.jsonl", *rows)
    assert _words(path) == {"a.png": ["a red circle"], "sub/c.png": ["one", "two"]}
    (folder / "t.json").write_text(json.dumps(rows))
    assert _words(folder / "t.json") == _words(path) == _words(folder)


def test_paths_as_trainers_take_them(folder: Path) -> None:
    rows = [
        {"image_path": str(folder / "a.png"), "caption": "a"},
        {"image_path": "photos/sub/c.png", "caption": "c"},
    ]
    assert _words(_lines(folder / "t.jsonl", *rows)) == {"a.png": ["a"], "photos/sub/c.png": ["c"]}
    rows = [
        {"image_path": "/etc/hostname", "caption": "x"},
        {"image_path": "../photos/../x.png", "caption": "x"},
    ]
    records = read_records(_lines(folder / "t.jsonl", *rows), layout="jsonl")
    assert {str(record.problem).partition(":")[0] for record in records.values()} == {
        "lies outside its corpus"
    }


def test_videos_with_times_and_named_columns(folder: Path) -> None:
    path = _lines(
        folder / "t.jsonl",
        {"video_path": "d.mp4", "caption": ["a", "b"], "start_s": [0, "0:01"], "end_s": [1, 2.5]},
    )
    (record,) = read_records(path, "long-videos", "jsonl").values()
    assert record.captions == (CaptionSpan("a", 0, 1), CaptionSpan("b", 1, 2.5))
    named = {
        "file_column": "v",
        "caption_column": "c",
        "start_column": "s",
        "end_column": "e",
        "licence_column": "l",
    }
    path = _lines(
        folder / "t.jsonl", {"v": "d.mp4", "c": "x", "s": 1, "e": "00:00:02", "l": "CC-BY", "caption": "no"}
    )
    (record,) = read_records(path, "long-videos", "jsonl", **named).values()
    assert record.captions == (CaptionSpan("x", 1, 2),) and record.licence == "CC-BY"


def test_kohya_and_diffusion_pipe(folder: Path) -> None:
    said = {
        "a.png": {"caption": "a", "tags": "x"},
        "b": {"caption": "b"},
        "/home/u/photos/sub/c.png": {"caption": "c"},
    }
    (folder / "meta_cap.json").write_text(json.dumps(said))
    records = read_records(folder / "meta_cap.json", layout="jsonl")
    assert [(record.place.url, record.captions[0].text) for record in records.values()] == [
        (str(folder / "a.png"), "a"),
        (str(folder / "b.png"), "b"),
        (str(folder / "sub/c.png"), "c"),
    ]
    (folder / "captions.json").write_text('{"a.png": ["one", "two"], "b.png": "bee"}')
    (folder / "sub/captions.json").write_text('{"c.png": ["see"]}')
    records = read_records(folder)
    told = {uri: [caption.text for caption in record.captions] for uri, record in records.items()}
    assert told == {"a.png": ["one", "two"], "b.png": ["bee"], "sub/c.png": ["see"]}


def test_what_is_wrong_is_named_with_its_line(folder: Path) -> None:
    (folder / "t.jsonl").write_text(
        '{"file": "a.png", "caption": "a"}\n\n{"file": "b.png"\n{"caption": "x"}\n[1]\n'
        '{"file": "b.png", "caption": {"long": "x"}}\n{"file": "sub/c.png", "caption": null}\n'
    )
    found = problems(read_records(folder / "t.jsonl", layout="jsonl"))
    assert found.pop("a.png") is None
    assert found.pop("t.jsonl:3") == found.pop("t.jsonl:5").replace("line 5", "line 3")
    assert found.pop("t.jsonl:4") == "t.jsonl: line 4: names no file"
    assert found.pop("b.png") == "t.jsonl: line 6: the caption is no text"
    assert str(found.pop("sub/c.png")).startswith("no caption") and not found


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.jsonl", b'{"title": "x"}\n', "has no column 'file'"),
        ("t.jsonl", b'{"file": "a.png"}\n', "has no column 'caption'"),
        ("t.json", b"3", "is not a table as JSON"),
        ("t.json", b"[" * 100_000, "is not a table as JSON"),
        ("t.json", b" " * (MAX_WHOLE_BYTES + 1), "write it as JSON Lines"),
        ("t.jsonl", '{"file": "a.png"}'.encode("utf-16-le"), "line 1: holds NUL"),
        ("t.csv", b"", "is no .jsonl file"),
    ],
    ids=["no file", "no caption", "number", "deep", "large", "UTF-16", "a CSV's name"],
)
def test_what_is_no_table_is_refused(folder: Path, name: str, content: bytes, said: str) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(RequestError) as caught:
        read_records(folder / name, layout="jsonl")
    assert said in str(caught.value) and name in str(caught.value)


def test_encodings_of_json_lines(folder: Path) -> None:
    text = '{"file": "a.png", "caption": "un café"}\n'
    for codec in ("utf-8-sig", "utf-16", "cp1252"):
        (folder / "t.jsonl").write_bytes(text.encode(codec))
        assert _words(folder / "t.jsonl") == {"a.png": ["un café"]}


values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@checks(deadline=None, max_examples=100)  # a busy machine is no failure
@given(
    st.dictionaries(st.sampled_from(["file", "caption", "start_s", "end_s", "timestamp", "licence"]), values)
)
def test_any_object_is_read_or_named(tmp_path_factory: pytest.TempPathFactory, row: dict) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    _lines(path, {"file": "a.png", "caption": "x"}, row)
    for record in read_records(path, layout="jsonl").values():
        assert record.problem
        assert all("[" not in caption.text or "[" in str(row) for caption in record.captions)
