"""Under which licence a source is: that of its own line, wherever in a manifest it stands, else that of the corpus."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tasks.corpora.config import load_corpora
from tasks.corpora.readers import read_sources

CORPUS = """
[[corpus]]
name = "shown"
kind = "images"
format = "folder"
path = "shown"
licence = "CC0-1.0"
"""


def licences(folder: Path, rows: list[str]) -> dict[str, str]:
    """The licence of each source of a folder whose manifest has these rows: file, caption, licence."""
    shown = folder / "shown"
    shown.mkdir(exist_ok=True)
    for name in {row.split(",")[0] for row in rows}:
        (shown / name).touch()
    (shown / "manifest.csv").write_text("\n".join(["file,caption,licence", *rows]) + "\n")
    (folder / "corpora.toml").write_text(CORPUS)
    (corpus,) = load_corpora(folder / "corpora.toml")
    return {source.uri: source.licence for source in read_sources(corpus)}


@pytest.mark.parametrize("order", itertools.permutations(range(3)), ids=str)
def test_a_file_of_several_rows_has_the_licence_that_any_of_them_names(
    tmp_path: Path, order: tuple[int, ...]
) -> None:
    rows = ["a.png,a circle,", "a.png,a red circle, CC-BY-4.0 ", "a.png,red,"]
    found = licences(tmp_path, [rows[number] for number in order] + ["b.png,a square,"])
    assert found == {"a.png": "CC-BY-4.0", "b.png": "CC0-1.0"}


def test_of_two_licences_the_first_holds(tmp_path: Path) -> None:
    assert licences(tmp_path, ["a.png,x,MIT", "a.png,y,CC-BY-4.0"]) == {"a.png": "MIT"}
