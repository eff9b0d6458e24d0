"""Several captions of one file: all are kept in the row, and which one a clip got is recorded and the same again."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from flows.profile import Profile
from tasks.clips.clip import drawn_index
from tasks.ingest.workers import Workers
from tests.build_world import all_rows, build, keep_all
from tests.corpus_records import write_image

CAPTIONS = ["a red circle", "a circle", "something red", "a shape on dark ground"]
TABLE = """
[[corpus]]
name = "c"
kind = "images"
format = "jsonl"
path = "t.jsonl"
licence = "CC0-1.0"
"""


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("captions")
    names = [f"{number}.png" for number in range(8)]
    for shade, name in enumerate(names):
        write_image(folder / name, 20 * shade)
    rows = [{"file": name, "caption": CAPTIONS} for name in names] + [{"file": "one.png", "caption": "one"}]
    write_image(folder / "one.png", 200)
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "corpora.toml"


def test_all_are_kept_and_the_choice_is_recorded(
    corpora: Path, tmp_path: Path, workers: Workers, tiny_profile: Profile
) -> None:
    recipe = keep_all(tiny_profile)
    corpora.write_text(TABLE)
    build(corpora, tmp_path / "best", recipe, workers=workers)
    best = all_rows(tmp_path / "best")
    corpora.write_text(TABLE + 'caption_choice = "drawn"\n')
    summary = build(corpora, tmp_path / "best", recipe, workers=workers)
    assert (summary.skipped, summary.read) == (1, 9), "a file with one caption has nothing to choose"
    drawn = all_rows(tmp_path / "best")
    assert best.keys() == drawn.keys() and summary.encoded == 0
    for rows, choice in ((best, "best"), (drawn, "drawn")):
        for row in rows.values():
            if row["source_uri"] == "one.png":
                assert (row["captions"], row["caption"], row["caption_choice"]) == (["one"], "one", None)
            else:
                assert (row["captions"], row["caption_choice"]) == (CAPTIONS, choice)
                assert row["caption"] in CAPTIONS
    told = {name: row["caption"] for name, row in drawn.items() if row["source_uri"] != "one.png"}
    assert told == {name: CAPTIONS[drawn_index(name, len(CAPTIONS))] for name in told}
    build(corpora, tmp_path / "again", recipe, workers=workers)
    again = {name: row["caption"] for name, row in all_rows(tmp_path / "again").items()}
    assert again == {name: row["caption"] for name, row in drawn.items()}


def test_each_caption_is_drawn_as_often() -> None:
    counts = Counter(drawn_index(f"{number:032x}", 4) for number in range(4000))
    assert min(counts.values()) > 900 and np.ptp(list(counts.values())) < 150
