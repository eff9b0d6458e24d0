"""A corpus of somebody who did not build this goes in, and every row of the dataset is looked at."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flows.profile import Profile
from storage.dataset.clip_dataset import ClipDataset
from tasks.clips.from_params import frames_from_params
from tasks.clips.video_io import decode_bytes
from tasks.corpora.config import read_corpora
from tasks.corpora.media import open_media
from tasks.corpora.readers import read_sources
from tasks.ingest.workers import Workers
from tests.build_world import all_rows, build, keep_all
from tests.outside_corpus import COLOURS, Right, bar_at, make, picture

MOST_OFF = (
    40  # grey levels: what is coded in 4:2:0 and made small is not the colour itself, yet no other is so near
)


@pytest.mark.slow
def test_every_row_of_a_corpus_from_outside(tmp_path: Path, workers: Workers, tiny_profile: Profile) -> None:
    corpus = make(tmp_path)
    summary = build(corpus.path, tmp_path / "d", keep_all(tiny_profile), workers=workers)
    places = {
        (source.corpus, source.uri): source.place
        for read in read_corpora(corpus.path).corpora
        for source in read_sources(read)
    }
    rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in sorted(all_rows(tmp_path / "d").values(), key=lambda row: row["start_s"]):
        rows.setdefault((row["corpus"], row["source_uri"]), []).append(row)
    assert rows.keys() == corpus.right.keys()
    for key, right in corpus.right.items():
        captions = tuple(dict.fromkeys(row["caption"] for row in rows[key]))
        assert captions == right.captions, key
        for row in rows[key]:
            assert row["licence"] == right.licence and row["split"] == (right.split or row["split"]), key
            corners = right.corners[right.captions.index(row["caption"])]
            if not row["video"]:
                _check_picture(row, places[key], corners, tmp_path / "right.png")
                continue
            frames = decode_bytes(row["video"])[0].astype(int)
            _check_corners(frames, corners, key)
            if right.first_s is not None:
                _check_time(frames, row, right, key)
    assert rows["scans", "panorama.jpg"][0]["source_width"] == 9000

    table = ClipDataset.open(tmp_path / "d").quarantine.read(["corpus", "source_uri", "error"])
    errors = {(row["corpus"], row["source_uri"]): row["error"] for row in table.to_pylist()}
    assert errors.keys() == corpus.refused.keys()
    assert [key for key, part in corpus.refused.items() if part not in errors[key]] == []
    assert dict(summary.unread) == corpus.passed_by


def _check_picture(row: dict[str, Any], place: Any, corners: str, path: Path) -> None:
    """The frames that a row's parameters make of its image are those that they make of the right picture."""
    Image.fromarray(picture(corners, row["source_width"], row["source_height"])).save(path)
    with open_media(place) as media:
        shown = frames_from_params(media, row["params"]).astype(int)
    assert np.abs(shown - frames_from_params(str(path), row["params"])).mean() < 6, row["source_uri"]


def _check_corners(frames: np.ndarray, corners: str, key: tuple[str, str]) -> None:
    for frame in frames:
        for (y, x), letter in zip(((9, 9), (9, 54), (54, 9), (54, 54)), corners, strict=True):
            seen = np.median(frame[y - 3 : y + 4, x - 3 : x + 4].reshape(-1, 3), axis=0)
            assert np.abs(seen - COLOURS[letter]).max() < MOST_OFF, (key, letter, seen)


def _check_time(frames: np.ndarray, row: dict[str, Any], right: Right, key: tuple[str, str]) -> None:
    """The bar stands where it stood at the time that the row gives each frame."""
    for number, frame in enumerate(frames):
        bright = np.flatnonzero(frame[30:34].mean(axis=(0, 2)) > 140)
        assert len(bright), key
        time_s = row["start_s"] - (right.first_s or 0.0) + number / row["fps"]
        assert abs((bright.mean() + 0.5) / frame.shape[1] - bar_at(time_s)) < 0.035, (key, number)
