"""What a look into the corpora tells before anything is built: counts, origins of captions, first pairs, the rest."""

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.corpora.config import load_corpora
from tasks.corpora.look import SHOWN, look_at
from tasks.corpora.tree import suffix_of
from tasks.errors import RequestError
from tests.corpus_records import write_image

ROOT = Path(__file__).resolve().parents[1]
TABLE = '[[corpus]]\nname = "{0}"\nkind = "{1}"\nformat = "{2}"\npath = "{0}"\nlicence = "CC0-1.0"\n'


@pytest.fixture
def corpora(tmp_path: Path) -> Path:
    """A folder, a table, a tar and class folders, with what is wrong with each."""
    for name in ("a.png", "b.PNG", "c.jpg", "d.png", "._a.png"):
        write_image(tmp_path / "photos" / name)
    (tmp_path / "photos/a.txt").write_text("a red circle")
    (tmp_path / "photos/b.caption").write_text("a blue\x1b[31m circle")
    (tmp_path / "photos/c.txt").write_bytes("красный круг".encode("cp1251"))
    for name in ("a.xmp", "b.xmp", "notes.md", "film.mp4"):
        (tmp_path / "photos" / name).write_text("x")
    (tmp_path / "labelled/dog").mkdir(parents=True)
    (tmp_path / "labelled/dog/1.mp4").touch()
    (tmp_path / "labelled/stray.mp4").touch()
    (tmp_path / "rows").mkdir()
    pq.write_table(pa.table({"image": [b"x"] * 5, "text": ["one"] * 4 + [None]}), tmp_path / "rows/t.parquet")
    (tmp_path / "shards").mkdir()
    with tarfile.open(tmp_path / "shards/t.tar", "w") as tar:
        tar.add(tmp_path / "photos/a.png", "0.png")
        tar.add(tmp_path / "photos/a.txt", "0.txt")
    tables = (("photos", "images", "folder"), ("labelled", "short-videos", "class-folders"))
    tables += (("rows", "images", "parquet"), ("shards", "images", "webdataset"))
    (tmp_path / "corpora.toml").write_text("".join(TABLE.format(*table) for table in tables))
    return tmp_path / "corpora.toml"


def test_what_is_found_and_what_is_not_looked_at(corpora: Path) -> None:
    photos, labelled, rows, shards = (look.as_dict() for look in look_at(load_corpora(corpora)))
    assert (photos["sources"], photos["files"]) == (4, {".png": 3, ".jpg": 1})
    assert photos["captions"] == {".txt beside it": 1, ".caption beside it": 1}
    assert photos["first"][0] == {"file": "a.png", "caption": "a red circle"}
    assert photos["ignored"] == {".xmp": 2, ".md": 1, ".mp4": 1}
    assert {(said["sources"], said["first"]) for said in photos["problems"]} == {(1, "c.jpg"), (1, "d.png")}
    assert labelled["captions"] == {"name of its folder": 1}
    assert labelled["problems"][0]["problem"] == "lies in no class folder, so it has no label"
    assert (
        rows["captions"] == {"column text": 4}
        and len(rows["first"]) == 3
        and rows["files"] == {".parquet": 5}
    )
    assert shards["captions"] == {"words of its key": 1}


def test_of_many_reasons_the_usual_ones_are_told_and_the_rest_counted(corpora: Path) -> None:
    look = look_at(load_corpora(corpora))[0]
    look.problems.clear()
    for number in range(SHOWN + 3):
        reason = f"reason {number}"
        look.problems[reason], look.examples[reason] = SHOWN + 3 - number, "x.png"
    lines = look.as_lines()
    assert sum("will be quarantined: reason" in line for line in lines) == SHOWN
    assert "  6 will be quarantined for 3 other reasons" in lines  # 3 + 2 + 1 sources


def test_the_command_tells_it_without_opening_media(corpora: Path) -> None:
    command = [sys.executable, "-m", "flows.cli", "dataset", "plan", "--look", "--profile", "sd21", "--json"]
    done = subprocess.run([*command, "--corpora", corpora], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [corpus["sources"] for corpus in json.loads(done.stdout)["result"]["corpora"]] == [4, 2, 5, 1]
    told = done.stderr.splitlines()
    assert "photos: 4 images (3 .png, 1 .jpg)" in told
    assert "  captions: 1 .txt beside it, 1 .caption beside it" in told
    assert "  a.png: 'a red circle'" in told and "\x1b" not in done.stderr
    assert "  passed by: 2 .xmp, 1 .mp4, 1 .md" in told
    assert any(line.startswith("  1 will be quarantined: neither UTF-8 nor Windows-1252") for line in told)


def test_what_is_wrong_with_several_corpora_is_said_at_once(corpora: Path) -> None:
    text = corpora.read_text()
    corpora.write_text(
        text.replace('path = "rows"', 'path = "gone"').replace('path = "shards"', 'path = "photos"')
    )
    with pytest.raises(RequestError) as caught:
        load_corpora(corpora)
    assert "'rows': path: " in str(caught.value) and "; [[corpus]] 'shards': no images in" in str(
        caught.value
    )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("t.parquet#12", ".parquet"),
        ("a (1).JPG", ".jpg"),
        ("0.png (1)", ".png"),
        ("a#1 ?.png", ".png"),
        ("README", "no suffix"),
    ],
)
def test_suffixes(name: str, suffix: str) -> None:
    assert suffix_of(name) == suffix
