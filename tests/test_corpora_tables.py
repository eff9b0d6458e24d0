"""CSV and TSV as Excel, pandas, Spark and the makers of datasets write them: each file has its own words."""

import codecs
import csv
import io
import json
import os
import unicodedata
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import settings as checks
from hypothesis import strategies as st

from tasks.corpora.list_cells import captions_in, spans_in
from tasks.corpora.look import look_at
from tasks.corpora.records import CaptionSpan
from tasks.corpora.table_entries import places
from tasks.corpora.tree import OUTSIDE
from tasks.errors import RequestError
from tests.corpus_records import corpus_of, problems, read_records, write_image

FIELD = Path(__file__).parents[1].parent / "shared/media/field/tables"


def _captions(folder: Path, table: str | bytes, name: str = "manifest.csv", **more: str) -> dict[str, str]:
    """The one caption of each file, or what is wrong with it."""
    (folder / name).write_bytes(table if isinstance(table, bytes) else table.encode())
    layout = "folder" if name.startswith("manifest") else "csv"
    path = folder if layout == "folder" else folder / name
    return {
        uri: str(record.problem) if record.problem else "|".join(c.text for c in record.captions)
        for uri, record in read_records(path, layout=layout, **more).items()
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in "abcdefg":
        write_image(tmp_path / f"{name}.png")
    return tmp_path


def _only(folder: Path, *names: str) -> None:
    for path in folder.glob("*.png"):
        if path.stem not in names:
            path.unlink()


@pytest.mark.parametrize(
    ("row", "caption"),
    [
        (r'a.png,"a \"quoted\" thing, really"', 'a "quoted" thing, really'),
        (r"a.png,a \"quoted\" thing\, really", 'a "quoted" thing, really'),
        (r"a.png,a \"quoted\" thing", 'a "quoted" thing'),
        ('a.png,"a ""quoted"" thing, really"', 'a "quoted" thing, really'),
        (r'a.png,"on C:\"', "on C:\\"),
        (r'a.png,"both \"\" and \\ kept"', r'both "" and \ kept'),
        ('a.png,"two\nlines, and\r\nthree"', "two lines, and three"),
        ('a.png,"a, b",,', "a, b"),
        ('a.png,"Hello" he said', '"Hello" he said'),
        ('a.png,a 5" pipe', 'a 5" pipe'),
    ],
)
def test_quotes_and_backslashes_of_csv(folder: Path, row: str, caption: str) -> None:
    _only(folder, "a", "b")
    assert _captions(folder, f"file,caption\n{row}\nb.png,next\n") == {"a.png": caption, "b.png": "next"}


@pytest.mark.parametrize(
    ("cell", "caption"),
    [
        ('"a\tb"', "a b"),
        ('"two\nlines, with comma"', "two lines, with comma"),
        ('"a 6"" nail"', 'a 6" nail'),
        ('a 6" nail', 'a 6" nail'),
        ('"lone quote', '"lone quote'),
        ('"Hello" he said', '"Hello" he said'),
        (r"a \"quoted\" thing", 'a "quoted" thing'),
        ("trailing\t", "trailing"),
    ],
)
def test_quotes_of_tsv(folder: Path, cell: str, caption: str) -> None:
    _only(folder, "a", "b")
    table = f'file\tcaption\na.png\t{cell}\nb.png\tends with"\n'
    assert _captions(folder, table, "manifest.tsv") == {"a.png": caption, "b.png": 'ends with"'}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    "table",
    ["file;caption\na.png;one, two", "sep=;\nfile;caption\na.png;one, two", "file\tcaption\na.png\tone, two"],
)
def test_what_spreadsheets_separate_with(folder: Path, table: str, end: str) -> None:
    _only(folder, "a")
    content = table.replace("\n", end)
    assert _captions(folder, content) == {"a.png": "one, two"}
    assert _captions(folder, content.encode("utf-16"), "list.csv") == {"a.png": "one, two"}


def test_a_tsv_is_separated_by_tabs_whatever_else_its_columns_are_called(folder: Path) -> None:
    _only(folder, "a")
    table = "file\tplace, day, hour\tcaption\na.png\tBern\tone, two"
    assert _captions(folder, table, "manifest.tsv") == {"a.png": "one, two"}


def test_extra_and_missing_fields_are_named_with_their_line(folder: Path) -> None:
    _only(folder, "a", "b", "c", "d")
    table = "caption,file,licence\na, one,a.png,x\n\nb\n,b.png\nc,c.png\nd,d.png,CC-BY,\n"
    found = _captions(folder, table)
    assert found.pop("manifest.csv:4") == "manifest.csv: line 4: has 1 fields, its header 3"
    assert found.pop("one") == "no such file"
    assert found.pop("a.png").startswith("no caption") and found.pop("b.png").startswith("no caption")
    assert found == {"c.png": "c", "d.png": "d"}
    found = _captions(folder, "file,caption\na.png,one, two\nb.png\nc.png,c\nd.png,d\n")
    assert found["a.png"] == "manifest.csv: line 2: has 3 fields, its header 2"
    assert found["b.png"] == "manifest.csv: line 3: has 1 fields, its header 2"
    assert (found["c.png"], found["d.png"]) == ("c", "d")


def test_rows_of_one_file_add_up(folder: Path) -> None:
    _only(folder, "a", "b")
    table = "file,caption\na.png,first\nb.png,other\n./a.png,second\na.png,first\n"
    assert _captions(folder, table) == {"a.png": "first|second|first", "b.png": "other"}


def test_the_field_folder() -> None:
    if not FIELD.exists():
        pytest.skip("../shared/media/field is not here")
    records = read_records(FIELD / "csv-backslash")
    assert records["a.png"].problem == "manifest.csv: line 2: has 3 fields, its header 2"
    assert records["b.png"].captions == (CaptionSpan("ok"),)
    records = read_records(FIELD / "tsv-quoted")
    found = {uri[0]: [caption.text for caption in record.captions] for uri, record in records.items()}
    assert {key: found[key] for key in "abcdefg"} == {
        "a": ["two lines, with comma"],
        "b": ['a 6" nail'],
        "c": ['a 6" nail'],
        "d": ["a 🐕 dog"],
        "e": [],
        "f": ["first", "second"],
        "g": ["trailing"],
    }
    assert "no caption" in str(records["e.png"].problem) and len(records) == 10


def test_openvid_open_sora_and_panda(tmp_path: Path) -> None:
    for name in ("clip_0to9.mp4", "video/clip_9to20.mp4", "x/y.mp4", "--00.mp4", "videos/--01.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def read(name: str, table: str, kind: str = "short-videos") -> dict:
        (tmp_path / name).write_text(table)
        return read_records(tmp_path / name, kind, "csv")

    openvid = read(
        "OpenVid.csv",
        "video,caption,aesthetic score,motion score,temporal consistency score,camera motion,frame,fps,seconds\n"
        'clip_0to9.mp4,"In the video, a man",4.9,0.7,0.99,static,240,25.0,9.6\n'
        "clip_9to20.mp4,A dog,5.0,1.1,0.98,pan_left,300,30.0,10.0\n",
    )
    assert problems(openvid) == {"clip_0to9.mp4": None, "clip_9to20.mp4": None}
    assert openvid["clip_0to9.mp4"].captions == (CaptionSpan("In the video, a man"),)
    assert openvid["clip_9to20.mp4"].place.url == str(tmp_path / "video/clip_9to20.mp4")
    (opensora,) = read("meta.csv", "path,text,num_frames\nx/y.mp4,a boat,100\n").values()
    assert opensora.captions == (CaptionSpan("a boat"),) and opensora.problem is None
    panda = read(
        "panda.csv",
        "videoID,url,timestamp,caption,matching_score\n"
        "--00,https://x,\"[['0:00:09.5', '0:00:13.146'], ['0:01:14.0', '0:01:20.5']]\","
        '"[\'a man\\\'s hat\', \'It is ""red""\']","[0.4, 0.3]"\n'
        "--01,https://x,\"[['0:00:09.5', '0:00:13.146']]\",\"['one', 'two']\",\"[0.4, 0.3]\"\n"
        "--02,https://x,\"[['0:00:09.5', '0:00:13.146']]\",\"['one']\",[0.4]\n",
        "long-videos",
    )
    assert panda["--00.mp4"].captions == (
        CaptionSpan("a man's hat", 9.5, 13.146),
        CaptionSpan('It is "red"', 74, 80.5),
    )
    assert panda["--01.mp4"].problem == "panda.csv: line 3: 1 spans of time for 2 captions"
    assert panda["--02.mp4"].problem == "no such file"


def test_a_table_in_a_folder_knows_videos_that_lie_deeper(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos/1.mp4").touch()
    (tmp_path / "manifest.csv").write_text("video,caption\n1.mp4,a boat\n")
    (record,) = read_records(tmp_path, "short-videos").values()
    assert record.captions == (CaptionSpan("a boat"),) and record.problem is None


def test_columns_that_the_corpus_names(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    named = {
        "file_column": "f",
        "caption_column": "c",
        "start_column": "s",
        "end_column": "e",
        "licence_column": "l",
    }
    (tmp_path / "t.csv").write_text("file,f,c,s,e,l\nwrong,a.mp4,a boat,0:01,00:00:03.5,CC-BY\n")
    (record,) = read_records(tmp_path / "t.csv", "long-videos", "csv", **named).values()
    assert record.captions == (CaptionSpan("a boat", 1.0, 3.5),) and record.licence == "CC-BY"
    for key in named:
        with pytest.raises(RequestError, match="has no column 'nothing'"):
            read_records(tmp_path / "t.csv", "long-videos", "csv", **(named | {key: "nothing"}))


@pytest.mark.parametrize(
    "header",
    ["File,Caption,Licence", "FILE,TEXT,LICENSE", "Image,Prompt,License", "Path,Description,license"],
)
def test_names_of_columns_in_other_letters(folder: Path, header: str) -> None:
    _only(folder, "a", "b", "c")
    (folder / "list.csv").write_text(f"{header}\na.png,red,MIT\nb.png,blue,?\nc.png,green,3\n")
    records = read_records(folder / "list.csv", layout="csv").values()
    found = [(record.uri, record.captions[0].text, record.licence) for record in records]
    assert found == [("a.png", "red", "MIT"), ("b.png", "blue", "CC0-1.0"), ("c.png", "green", "CC0-1.0")]


def test_what_programs_write_for_nothing_is_no_caption(folder: Path) -> None:
    _only(folder, "a", "b", "c", "d")
    (folder / "list.csv").write_text(
        "file,caption\na.png,nan\nb.png,NULL\nc.png,none of them\nd.png,None\nd.png,red\n"
    )
    records = read_records(folder / "list.csv", layout="csv")
    assert [uri for uri, problem in problems(records).items() if problem] == ["a.png", "b.png"]
    assert [[c.text for c in records[uri].captions] for uri in ("c.png", "d.png")] == [
        ["none of them"],
        ["red"],
    ]


def test_times_with_a_decimal_comma(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.mp4").touch()
    rows = [
        "a.mp4;0,0;1,5;red",
        "a.mp4;1,5;12,25;blue",
        "a.mp4;0,250;1234,5;green",
        "b.mp4;1,234;2000;thousands?",
    ]
    (tmp_path / "list.csv").write_text("\n".join(["file;start_s;end_s;caption", *rows]) + "\n")
    records = read_records(tmp_path / "list.csv", "long-videos", "csv")
    spans = [(caption.text, caption.start_s, caption.end_s) for caption in records["a.mp4"].captions]
    assert spans == [("red", 0.0, 1.5), ("blue", 1.5, 12.25), ("green", 0.25, 1234.5)]
    assert records["b.mp4"].problem == "list.csv: line 5: start_s is not a number of seconds: '1,234'"


def test_lines_between_columns_as_in_flickr30k(folder: Path) -> None:
    _only(folder, "a", "b")
    (folder / "results.csv").write_text(
        "image_name| comment_number| comment\na.png| 0| Two men, one red hat .\na.png| 1| Men .\nb.png| 0| A dog .\n"
    )
    columns = {"file_column": "image_name", "caption_column": "comment"}
    records = read_records(folder / "results.csv", layout="csv", **columns).values()
    assert [[caption.text for caption in record.captions] for record in records] == [
        ["Two men, one red hat .", "Men ."],
        ["A dog ."],
    ]


def test_a_workbook_is_no_csv(folder: Path) -> None:
    (folder / "list.csv").write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(RequestError, match=r"list\.csv: is a workbook .* save the table in it as CSV"):
        read_records(folder / "list.csv", layout="csv")


@pytest.mark.parametrize("column", ["file", "path"])
@pytest.mark.parametrize("layout", ["csv", "folder"])
def test_paths_as_windows_writes_them(tmp_path: Path, column: str, layout: str) -> None:
    table = tmp_path / "manifest.csv"
    for name in ("sub/deep/a.png", "b.png", "real\\slash.png"):
        write_image(tmp_path / name)
    rows = ["sub\\deep\\a.png,one", ".\\b.png,two", "real\\slash.png,three", "..\\c.png,four"]
    table.write_text("\n".join([f"{column},caption", *rows]) + "\n")
    records = read_records(tmp_path if layout == "folder" else table, layout=layout)
    found = {uri: record.problem or record.captions[0].text for uri, record in records.items()}
    assert found == {
        "sub/deep/a.png": "one",
        "b.png": "two",
        "real/slash.png": "three",
        "../c.png": "lies outside its corpus",
    }
    assert records["real/slash.png"].place.url == str(tmp_path / "real\\slash.png")


def test_a_path_of_another_machine_that_ran_windows(tmp_path: Path) -> None:
    home = tmp_path / "films"
    write_image(home / "sub/a.png")
    (home / "list.csv").write_text("path,caption\nC:\\Users\\me\\films\\sub\\a.png,one\n")
    assert [r.problem for r in read_records(home / "list.csv", layout="csv").values()] == [None]


@pytest.mark.parametrize("column", ["file", "path"])
def test_paths_of_other_machines_are_named_with_their_row(tmp_path: Path, column: str) -> None:
    home = tmp_path / "films"
    home.mkdir()
    rows = ["C:\\Users\\me\\a.png,one", "D:/b.png,two", "\\\\server\\share\\c.png,three", "/data/d.png,four"]
    rows += ["https://example.org/e.png,five", "sub/f.png,six", "https:\\x,seven"]
    (home / "list.csv").write_text("\n".join([f"{column},caption", *rows]) + "\n")
    found = list(problems(read_records(home / "list.csv", layout="csv")).values())
    expected = "expected is one relative to the table, or below a folder called films"
    for line, (row, said) in enumerate(
        zip(rows, ["no such file"] * 2 + [OUTSIDE] * 2, strict=False), start=2
    ):
        kind = "a path of another folder" if row.startswith("/") else "a Windows path"
        assert f"{said}: list.csv: line {line} names {row.rpartition(',')[0]}: {kind}; {expected}" in found
    address = "no such file: list.csv: line 6 names https://example.org/e.png: an address; "
    assert address + "download the files, and name them relative to the table" in found
    assert found.count("no such file") == 2
    pq.write_table(pa.table({column: ["C:\\a.png"], "caption": ["one"]}), home / "t.parquet")
    (said,) = problems(read_records(home / "t.parquet", layout="parquet")).values()
    assert str(said).startswith(
        "no such file: t.parquet#0 names C:\\a.png: a Windows path; expected is one rel"
    )
    (look,) = look_at([corpus_of(home / "list.csv", layout="csv")])
    assert any(
        line.startswith("  3 will be quarantined: a Windows path; expected") for line in look.as_lines()
    )


@pytest.mark.parametrize("name", ["manifest.tsv", "metadata.csv", "list.csv", "list.tsv"])
def test_a_table_without_names_of_columns_is_refused(folder: Path, name: str) -> None:
    """As some of Open-Sora's are; its first row must not be lost as its header."""
    separator = "\t" if name.endswith(".tsv") else ","
    rows = [("a.png", "a red circle"), ("b.png", "a blue one")]
    (folder / name).write_text("".join(f"{separator.join(row)}\n" for row in rows))
    listed = name.startswith("list")
    for more in ({}, {"file_column": "path", "caption_column": "text"}):
        with pytest.raises(RequestError) as error:
            read_records(folder / name if listed else folder, layout="csv" if listed else "folder", **more)
        said = (
            f"{name}: its first line is a row (a.png, a red circle); write the names of the columns above it"
        )
        assert said in str(error.value), error.value
    # A name like a file's does no harm among others.
    (folder / name).write_text(f"path{separator}text{separator}a.jpg\n" + (folder / name).read_text())
    records = read_records(folder / name if listed else folder, layout="csv" if listed else "folder")
    assert records["a.png"].captions == (CaptionSpan("a red circle"),)


@pytest.mark.parametrize(("on_disk", "in_table"), [("NFD", "NFC"), ("NFC", "NFD")])
@pytest.mark.parametrize("layout", ["csv", "folder"])
@pytest.mark.parametrize("column", ["file", "path"])
def test_accents_as_macos_writes_them(
    tmp_path: Path, on_disk: str, in_table: str, layout: str, column: str
) -> None:
    name = "Über/Café.png"
    write_image(tmp_path / unicodedata.normalize(on_disk, name))
    table = tmp_path / "manifest.csv"
    table.write_text(f"{column},caption\n{unicodedata.normalize(in_table, name)},a cup\n", encoding="utf-8")
    records = read_records(tmp_path if layout == "folder" else table, layout=layout)
    assert [(record.problem, record.captions[0].text) for record in records.values()] == [(None, "a cup")]


def test_lists_in_cells_are_data(tmp_path: Path) -> None:
    assert captions_in("['it\\'s', \"b\"]") == ["it's", "b"] == captions_in('["it\'s", "b"]')
    for words in (
        "[music]",
        "[1, 2]",
        "[__import__('os')]",
        "a [b]",
        "[" * 5000 + "]" * 5000,
        "[" + "-" * 10**6 + "]",
    ):
        assert captions_in(words) == [words]
    assert spans_in("[[0, 2.5], ['0:01', '0:02']]") == [(0, 2.5), ("0:01", "0:02")]
    assert spans_in("[1, 2, 3]") is None and spans_in("2024-01-01") is None


NOTHING = ("nan", "null", "none", "n/a", "<na>", "#n/a")  # no captions, as said above
cells = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters='\n\t",;\\'), max_size=12)


def _words(rows: list[tuple[str, str]], suffix: str, content: str, folder: Path) -> list[str]:
    path = folder / f"t{suffix}"
    path.write_bytes(content.encode())
    records = read_records(path, layout="csv", captions_needed=False)
    return [records[name].captions[0].given or records[name].captions[0].text for name, _ in rows]


@checks(deadline=None, max_examples=200)  # a busy machine is no failure
@given(
    st.lists(
        cells.filter(
            lambda cell: cell.strip() and "\ufeff" not in cell and cell.strip().lower() not in NOTHING
        ),
        min_size=1,
        max_size=5,
    )
)
@example(['"'])
@example(['\\"'])
def test_what_python_and_pandas_write_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, captions: list[str]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    rows = [(f"{number}.png", caption) for number, caption in enumerate(captions)]
    frame = pd.DataFrame(rows, columns=["file", "caption"])
    written = io.StringIO()
    csv.writer(written, quoting=csv.QUOTE_ALL).writerows([("file", "caption"), *rows])
    for suffix, content in (
        (".csv", frame.to_csv(index=False)),
        (".csv", written.getvalue()),
        (".csv", frame.to_csv(index=False, sep=";", quoting=csv.QUOTE_NONNUMERIC)),
        (".tsv", frame.to_csv(index=False, sep="\t", quoting=csv.QUOTE_ALL)),
    ):
        if suffix == ".tsv" and any("\n" in caption and "\t" in caption for caption in captions):
            continue  # it might as well be two rows
        for (_, caption), words in zip(rows, _words(rows, suffix, content, folder), strict=True):
            assert " ".join(words.split()) == " ".join(caption.split())


@pytest.mark.parametrize("layout", ["folder", "csv", "jsonl"])
def test_names_that_are_no_text_are_names_all_the_same(tmp_path: Path, layout: str) -> None:
    """A file's name may be any bytes, and half a character may stand in JSON."""
    name = b"caf\xe9\xff.png"
    os.rename(write_image(tmp_path / "whole.png"), os.fsencode(tmp_path) + b"/" + name)
    write_image(tmp_path / "other.png")
    if layout == "jsonl":
        rows = [{"file": "half\ud800.png", "caption": "a"}, {"file": "other.png", "caption": "two"}]
        (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
        expected = {"half\\ud800.png": "cannot be read", "other.png": None}
    else:
        table = codecs.BOM_UTF8 + b"file,caption\n" + name + b",one \xe2\x80\x99\nother.png,two\n"
        (tmp_path / ("list.csv" if layout == "csv" else "manifest.csv")).write_bytes(table)
        expected = {r"caf\xe9\xff.png": None, "other.png": None}
    path = tmp_path if layout == "folder" else tmp_path / f"list.{layout}"
    found = problems(read_records(path, "images", layout))
    assert found.keys() == expected.keys()
    for uri, problem in expected.items():
        assert (found[uri] is None) if problem is None else problem in str(found[uri])


@pytest.mark.parametrize("named", ["", "  ", None])
def test_a_row_that_names_no_file_lies_nowhere(named: object) -> None:
    assert places("file", {"file": named}) == ("",)
    assert places("path", {"path": named}) == ("",)
