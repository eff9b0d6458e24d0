"""Parquet corpora: bytes in cells as Hugging Face writes them, files beside the table, damaged tables."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.clips.images import read_image
from tasks.corpora.media import content_digest, open_media
from tasks.corpora.parquet_cell import read_cell
from tasks.corpora.records import CaptionSpan, MediaPlace
from tasks.errors import ItemError, RequestError
from tests.corpus_records import problems, read_records, write_image
from tests.damaged_tables import flipped, footer_start

ROOT = Path(__file__).resolve().parents[1]


def _png(folder: Path, shade: int) -> bytes:
    return write_image(folder / "cell.png", shade).read_bytes()


def _write(path: Path, columns: dict[str, Any], row_group_size: int = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=row_group_size)
    return path


def _read(path: Path, kind: str = "images", **more: Any) -> dict:
    return read_records(path, kind, "parquet", **more)


@pytest.mark.parametrize("struct", [False, True])
def test_bytes_in_cells(tmp_path: Path, struct: bool) -> None:
    cells: list = [_png(tmp_path, shade) for shade in range(5)]
    if struct:
        cells = [{"bytes": cell, "path": f"{shade}.png"} for shade, cell in enumerate(cells)]
    texts = ["zero", "one", None, "three", " four\n"]
    path = _write(tmp_path / "table/part.parquet", {"image": cells, "text": texts, "licence": ["CC-BY"] * 5})
    records = _read(tmp_path / "table")
    assert problems(_read(path)) == problems(records)
    assert list(records) == [f"part.parquet#{row}" for row in range(5)]
    assert records["part.parquet#4"].captions == (CaptionSpan("four", given=" four\n"),)
    assert "no caption" in str(records["part.parquet#2"].problem) and not records["part.parquet#2"].captions
    assert {record.licence for record in records.values()} == {"CC-BY"}
    assert {record.size_bytes for record in records.values()} == {path.stat().st_size}
    for order in (range(5), (4, 0, 3)):
        for shade in order:
            with open_media(records[f"part.parquet#{shade}"].place) as media:
                assert (np.asarray(read_image(media).picture) == shade).all()


def test_a_cell_costs_its_row_group_and_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    cells = [rng.bytes(100_000) for _ in range(20)]
    path = _write(tmp_path / "t.parquet", {"jpg": cells, "mask": cells, "caption": ["x"] * 20})
    place = _read(path, bytes_column="jpg")["t.parquet#13"].place
    read = []

    class Counted(io.FileIO):
        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            read.append(len(data))
            return data

    with Counted(path) as file:
        assert read_cell(file, place, ("first",)) == cells[13]
    assert sum(read) < 300_000 < path.stat().st_size / 10
    # Without room to keep a chunk the rows are streamed.
    monkeypatch.setattr("tasks.corpora.parquet_cell.KEPT_CHUNK_BYTES", 1)
    with Counted(path) as file:
        assert read_cell(file, place, ("second",)) == cells[13]


def test_a_changed_table_gives_its_new_bytes(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    digests = []
    for content in (b"a" * 10, b"b" * 11):
        _write(path, {"bytes": [content], "caption": ["x"]})
        digests.append(content_digest(MediaPlace(str(path), row=0, column="bytes")))
    assert digests[0] != digests[1]


def test_spans_lists_of_captions_and_odd_values(tmp_path: Path) -> None:
    columns = {
        "video": pa.array([b"1", b"2", b"3"], pa.large_binary()),
        "caption": pa.array([["a", "b"], [], ["c", None]]),
        "start_s": [0.5, None, 3.0],
        "end_s": [2.0, None, 1.0],
    }
    records = _read(_write(tmp_path / "t.parquet", columns), "long-videos")
    assert records["t.parquet#0"].captions == (CaptionSpan("a", 0.5, 2.0), CaptionSpan("b", 0.5, 2.0))
    assert "no caption" in str(records["t.parquet#1"].problem)
    assert records["t.parquet#2"].problem == "t.parquet#2: end_s 1 does not lie after start_s 3"
    raw = pa.array([b"caf\xe9", b"\xff"]).view(pa.string())
    table = {"image": [b"1", b"2"], "caption": raw.dictionary_encode()}
    records = _read(_write(tmp_path / "u.parquet", table))
    assert records["u.parquet#0"].captions == (CaptionSpan("café"),)
    assert "the encoding is not known" in str(records["u.parquet#1"].problem)


def test_paths_of_files_beside_the_table(tmp_path: Path) -> None:
    write_image(tmp_path / "secret.png")
    for name in ("a.png", "media/b.png"):
        write_image(tmp_path / "corpus/part" / name)
    paths = ["./a.png", "media//b.png", "a.png", "../../secret.png", "gone.png", None]
    columns = {"path": paths, "caption": ["a", "b", "again", "x", "x", "x"]}
    _write(tmp_path / "corpus/part/t.parquet", columns)
    records = _read(tmp_path / "corpus")
    assert problems(records) == {
        "part/../../secret.png": "lies outside its corpus",
        "part/a.png": None,
        "part/gone.png": "no such file",
        "part/media/b.png": None,
    }
    assert records["part/a.png"].captions == (CaptionSpan("a"), CaptionSpan("again"))
    with open_media(records["part/media/b.png"].place) as media:
        assert np.asarray(read_image(media).picture).shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("columns", "more", "said"),
    [
        ({"image": [b"x"], "title": ["t"]}, {}, "has no column 'caption' or 'text' (found: image, title)"),
        ({"image": [b"x"], "text": ["t"]}, {"caption_column": "title"}, "has no column 'title'"),
        ({"image": [b"x"], "caption": [3]}, {}, "column 'caption' holds int64, not text"),
        ({"image": [b"x"], "mask": [b"x"], "text": ["t"]}, {}, "bytes in image, mask; bytes_column says"),
        ({"image": [b"x"], "text": ["t"]}, {"bytes_column": "img"}, "has no column 'img'"),
        ({"url": ["x"], "text": ["t"]}, {}, "has no column of bytes and none called path or file"),
    ],
)
def test_a_missing_or_unclear_column_is_refused(tmp_path: Path, columns: dict, more: dict, said: str) -> None:
    path = _write(tmp_path / "t.parquet", columns)
    with pytest.raises(RequestError) as caught:
        _read(path, **more)
    assert f"{path}: " in str(caught.value) and said in str(caught.value)


def test_where_a_model_writes_captions_no_column_is_needed_but_a_named_one_is(tmp_path: Path) -> None:
    path = _write(tmp_path / "t.parquet", {"image": [b"x", b"y", b"z"]})
    records = _read(path, captions_needed=False)
    assert problems(records) == {f"t.parquet#{row}": None for row in range(3)}
    assert not any(record.captions for record in records.values())
    with open_media(records["t.parquet#2"].place) as media:
        assert not isinstance(media, str) and media.read() == b"z"
    with pytest.raises(RequestError, match="has no column 'title'"):
        _read(path, captions_needed=False, caption_column="title")
    write_image(tmp_path / "a.png")
    path = _write(tmp_path / "t.parquet", {"path": ["a.png"], "licence": ["CC-BY"]})
    (record,) = _read(path, captions_needed=False).values()
    assert (record.uri, record.licence, record.problem) == ("a.png", "CC-BY", None)
    path = _write(tmp_path / "t.parquet", {"image": [b"x", b"y"], "caption": ["one", None]})
    one, none = _read(path, captions_needed=False).values()
    assert one.captions == (CaptionSpan("one"),) and none.problem is None


def test_damaged_tables_are_problems_that_name_them(tmp_path: Path) -> None:
    whole = _write(tmp_path / "b.parquet", {"image": [b"x"] * 4, "caption": ["one"] * 4})
    content = whole.read_bytes()
    (tmp_path / "a.parquet").write_bytes(content[: len(content) // 2])
    (tmp_path / "c.parquet").write_bytes(b"")
    records = _read(tmp_path)
    bad = {uri for uri, problem in problems(records).items() if problem}
    assert bad == {"a.parquet", "c.parquet"} and len(records) == 6
    assert "cannot be read as parquet" in str(records["a.parquet"].problem)
    # Damage in the middle shows when it is reached; the rows before it stay.
    texts = [f"a long caption that is number {row}" for row in range(5000)]
    _write(whole, {"image": [b"x"] * 5000, "caption": texts}, row_group_size=1000)
    place = pq.ParquetFile(whole).metadata.row_group(3).column(1).data_page_offset
    broken = bytearray(whole.read_bytes())
    broken[place : place + 40] = bytes(40)
    whole.write_bytes(broken)
    records = _read(whole)
    assert "cannot be read as parquet" in str(records.pop("b.parquet").problem)
    assert len(records) >= 2048 and not any(problems(records).values())


def test_cells_that_cannot_be_read_are_item_errors(tmp_path: Path) -> None:
    path = _write(tmp_path / "t.parquet", {"image": [b"x", None, b"x"], "caption": ["a", "b", "c"]})
    place = _read(path)["t.parquet#1"].place
    for cell, said in ((place, "is empty"), (MediaPlace(str(path), row=7, column="image"), "fewer rows")):
        with pytest.raises(ItemError, match=said) as caught, open_media(cell):
            pass
        assert caught.value.stage == "read" and "t.parquet" in str(caught.value)
    path.unlink()
    with pytest.raises(ItemError, match=r"t\.parquet: no such file"), open_media(place):
        pass


def _damaged_tables(*arguments: object) -> tuple[int, list[str]]:
    """Runs `tests.damaged_tables`: its exit code and what it printed."""
    command = [sys.executable, "-m", "tests.damaged_tables", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return done.returncode, done.stdout.splitlines()


def _outcomes(folder: Path) -> list[dict]:
    """What came of each table of a folder; the process that reads them has to survive."""
    code, lines = _damaged_tables(folder)
    assert code == 0, lines[-1:]
    outcomes = [json.loads(line) for line in lines[1::2]]
    assert len(outcomes) == len(list(folder.iterdir()))
    return outcomes


def test_a_footer_that_ends_the_process_which_asks_it_is_read_to_no_harm(tmp_path: Path) -> None:
    whole = _write(tmp_path / "t.parquet", {"image": [b"x"] * 4, "caption": ["one"] * 4}).read_bytes()
    (tmp_path / "fatal").mkdir()
    bit = 0
    for _ in range(4):
        code, lines = _damaged_tables("--flip", tmp_path / "t.parquet", bit)
        if code == 0:
            break
        bit = int(lines[-1]) + 1
        (tmp_path / f"fatal/{bit}.parquet").write_bytes(flipped(whole, bit - 1))
    if not bit:
        pytest.skip("this Arrow survives every flipped bit of a footer")
    for outcome in _outcomes(tmp_path / "fatal"):
        assert outcome["opened"] < 4 and outcome["said"]


def test_tables_with_flipped_bits_harm_nothing_but_their_rows(tmp_path: Path) -> None:
    texts = [f"caption {row % 7}" for row in range(60)]
    cells = [bytes([row]) * row for row in range(1, 61)]
    kinds: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"image": cells, "caption": texts}, {}),
        ({"image": cells, "caption": texts}, {"compression": "none", "use_dictionary": False}),
        ({"image": [{"bytes": cell, "path": "x"} for cell in cells], "caption": [texts[:2]] * 60}, {}),
        ({"image": cells, "caption": texts}, {"compression": "zstd", "data_page_version": "2.0"}),
    ]
    (tmp_path / "damaged").mkdir()
    for number, (columns, how) in enumerate(kinds):
        pq.write_table(pa.table(columns), tmp_path / "t.parquet", row_group_size=20, **how)
        whole = (tmp_path / "t.parquet").read_bytes()
        (tmp_path / f"damaged/{number}-whole.parquet").write_bytes(whole)
        for seed in range(100):
            rng = np.random.default_rng([number, seed])
            first, stop = (footer_start(whole), len(whole)) if seed % 2 else (0, footer_start(whole))
            bits = rng.integers(8 * first, 8 * stop, 1 + seed % 4)
            (tmp_path / f"damaged/{number}-{seed}.parquet").write_bytes(flipped(whole, *bits.tolist()))
    outcomes = _outcomes(tmp_path / "damaged")
    assert sum(outcome == {"listed": 60, "opened": 60, "said": []} for outcome in outcomes) >= len(kinds)
    for outcome in outcomes:
        assert outcome["said"] or outcome["listed"] == outcome["opened"]
        assert all(said and "\n" not in said for said in outcome["said"])
