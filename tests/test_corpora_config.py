"""The corpora file: every mistake in it is one line that names the file and the table."""

import tomllib
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from tasks.corpora.config import load_corpora
from tasks.corpora.corpus import Corpus
from tasks.errors import RequestError

TABLE = """
[[corpus]]
name = "photos"
kind = "images"
format = "folder"
path = "photos"
licence = "CC0-1.0"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "photos/black.png")
    return tmp_path


def _load(folder: Path, text: str) -> list:
    (folder / "corpora.toml").write_text(text)
    return load_corpora(folder / "corpora.toml")


def test_paths_are_relative_to_the_file(folder: Path) -> None:
    (corpus,) = _load(folder, TABLE)
    assert corpus.path == folder / "photos"
    assert (corpus.name, corpus.kind, corpus.format, corpus.licence) == (
        "photos",
        "images",
        "folder",
        "CC0-1.0",
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TABLE.replace("licence", "lisence"), "lisence"),
        (TABLE.replace('"images"', '"movies"'), "kind"),
        (TABLE.replace('"folder"', '"zip"'), "format"),
        (TABLE.replace('path = "photos"', 'path = "nowhere"'), "does not exist"),
        (TABLE.replace('path = "photos"', 'path = "foo://bucket/photos"'), "foo"),
        (TABLE.replace('path = "photos"', 'path = "s3://bucket/a.zip::zip://b"'), "chained"),
        (TABLE.replace('path = "photos"', 'path = ""'), "empty"),
        (TABLE.replace('path = "photos"', "path = 3"), "path"),
        (TABLE.replace('licence = "CC0-1.0"', ""), "licence is missing"),
        (TABLE.replace('"folder"', '"csv"'), "is not a file"),
        (TABLE.replace('"images"', '"long-videos"'), "no long-videos"),
        (TABLE + 'prompt_template = "a video"\n', "{label}"),
        (TABLE + TABLE, "two corpora"),
        (TABLE + "[[corpus]\n", "not valid TOML"),
        ("", "names no corpus"),
        ("corpus = 3\n", "names no corpus"),
        ("corpus = [3]\n", "number 1"),
        ("[settings]\n" + TABLE, "settings"),
        ("# \udcff\n", "not valid TOML"),
    ],
)
def test_a_mistake_is_one_line(folder: Path, text: str, said: str) -> None:
    path = folder / "corpora.toml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(RequestError) as caught:
        load_corpora(path)
    message = str(caught.value)
    assert said in message and str(path) in message and "\n" not in message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"nothing\.toml: no such"):
        load_corpora(tmp_path / "nothing.toml")
    with pytest.raises(RequestError, match="cannot be read"):
        load_corpora(tmp_path)


def test_a_table_without_captions_is_refused_before_any_work(folder: Path) -> None:
    (folder / "photos/manifest.tsv").write_text("file\ttitle\nblack.png\tnight\n")
    with pytest.raises(RequestError, match="no column 'caption'"):
        _load(folder, TABLE)
    assert len(_load(folder, TABLE + 'caption_column = "title"\n')) == 1
    (folder / "corpora.toml").write_text(TABLE)
    assert len(load_corpora(folder / "corpora.toml", captions_needed=False)) == 1


def test_lists_without_end_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "corpora.toml").write_text("corpus = " + "[" * 5000)
    with pytest.raises(RequestError, match=r"corpora\.toml: not a corpora file"):
        load_corpora(tmp_path / "corpora.toml")


def test_the_layouts_of_the_documentation_are_the_ones_there_are() -> None:
    """Each format has its section, and every key in an example is one of a corpus."""
    text = (Path(__file__).parents[1] / "docs/corpora.md").read_text()
    formats = set(get_args(Corpus.model_fields["format"].annotation))
    assert {name for name in formats if f"## `{name}`" in text} == formats
    examples = [part.partition("```")[0] for part in text.split("```toml\n")[1:]]
    assert len(examples) > 5
    for example in examples:
        table = tomllib.loads(example)
        table = (
            table["corpus"][0]
            if "corpus" in table
            else {"name": "c", "kind": "images", "licence": "x"} | table
        )
        Corpus.model_validate(table)
