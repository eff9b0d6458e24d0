"""The tiny world: real files in every layout, the promised mistakes, and the same bytes for the same seed."""

import filecmp
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tasks.clips.from_source import clips_of
from tasks.clips.reading import probe
from tasks.clips.settings import ClipSettings
from tasks.corpora.config import load_corpora
from tasks.corpora.readers import read_sources
from tasks.errors import ItemError, RequestError
from tasks.tiny.world.corpora import write_tiny_world
from tasks.tiny.world.drawing import COLOURS
from tasks.tiny.world.truth import Truth, read_truth

SIZES = {"images": 16, "short_videos": 17, "class_videos": 16, "long_videos": 3, "reference": 4}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_world(tmp_path_factory.mktemp("world") / "tiny", seed=11, **SIZES).parent


def _colour_of(frames_nhwc: np.ndarray) -> str:
    """The colour of the brightest things in the frames, read with no knowledge of how they were made."""
    pixels = frames_nhwc.reshape(-1, 3).astype(int)
    bright = pixels[pixels.max(axis=1) > 150]
    distance = {name: np.abs(np.median(bright, axis=0) - rgb).sum() for name, rgb in COLOURS.items()}
    return min(distance, key=lambda name: distance[name])


def test_every_file_is_what_the_truth_says(world: Path) -> None:
    by_file: dict[tuple[str, str], list[Truth]] = {}
    for row in read_truth(world):
        by_file.setdefault((row.corpus, row.file), []).append(row)
    clips_per_corpus: Counter[str] = Counter()
    for corpus in load_corpora(world / "corpora.toml"):
        for source in read_sources(corpus):
            rows = by_file.pop((corpus.name, source.uri))
            if rows[0].broken:
                with pytest.raises(ItemError):
                    list(clips_of(source, ClipSettings()))
                continue
            clips = list(clips_of(source, ClipSettings()))
            assert [clip.captions[0].text for clip in clips] == [row.caption_given for row in rows]
            for clip, row in zip(clips, rows, strict=True):
                assert _colour_of(clip.frames_nhwc) == row.caption_true.split()[1]
                assert row.start_s is None or row.start_s <= clip.start_s < float(row.end_s or 0)
            clips_per_corpus[corpus.name] += len(clips)
    assert clips_per_corpus == {"tiny-images": 16, "tiny-clips": 17, "tiny-actions": 16, "tiny-scenes": 18}
    assert {corpus for corpus, _ in by_file} == {"reference"}


def test_mistakes_are_in_colour_or_shape_and_as_many_as_promised(world: Path) -> None:
    truth = [row for row in read_truth(world) if not row.broken]
    for row in truth:
        told, true = row.caption_given.split(), row.caption_true.split()
        wrong = [word for word, (a, b) in enumerate(zip(told, true, strict=True)) if a != b]
        assert wrong == {"": [], "colour": [1], "shape": [2]}[row.wrong]
    wrong_in = Counter(row.corpus for row in truth if row.wrong)
    assert wrong_in == {"tiny-images": 2, "tiny-clips": 2, "tiny-actions": 2, "tiny-scenes": 2}
    assert len([row for row in read_truth(world) if row.broken]) == 5


def test_the_truth_lies_where_no_reader_sees_it(world: Path) -> None:
    assert {path.name for path in world.iterdir()} == {
        "corpora", "corpora.toml", "finished.json", "reference", "truth.tsv"
    }  # fmt: skip
    assert not [path for path in (world / "corpora").rglob("truth*")]


def test_layouts_are_those_of_the_real_corpora(world: Path) -> None:
    actions = world / "corpora/tiny-actions"
    videos = sorted(actions.glob("*/*.avi"))
    assert len(videos) == 16 and probe(videos[0]).codec == "mpeg4"
    assert all(video.name.startswith(f"v_{video.parent.name}_g0") for video in videos)
    lists = actions / "ucfTrainTestlist"
    classes = dict(line.split()[::-1] for line in (lists / "classInd.txt").read_text().splitlines())
    train = [line.split() for line in (lists / "trainlist01.txt").read_text().splitlines()]
    test = (lists / "testlist01.txt").read_text().split()
    assert {*(file for file, _ in train), *test} == {path.relative_to(actions).as_posix() for path in videos}
    assert all(classes[file.split("/")[0]] == number for file, number in train)
    assert probe(next((world / "corpora/tiny-clips/videos").glob("clip_*.mp4"))).codec == "h264"
    assert {path.suffix for path in (world / "corpora/tiny-images").glob("image_*")} == {".png", ".jpg"}


def test_the_same_seed_gives_the_same_bytes_and_a_second_call_does_nothing(
    world: Path, tmp_path: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in world.rglob("*")}
    write_tiny_world(world, seed=11, **SIZES)
    assert before == {path: path.stat().st_mtime_ns for path in world.rglob("*")}
    again = write_tiny_world(tmp_path / "again", seed=11, **SIZES).parent
    files = [path.relative_to(world) for path in world.rglob("*") if path.is_file()]
    assert filecmp.cmpfiles(world, again, files, shallow=False)[0] == files
    assert [path.name for path in tmp_path.iterdir()] == ["again"]


def test_what_lies_there_already_is_never_overwritten(world: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="another seed or size"):
        write_tiny_world(world, seed=12, **SIZES)
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(RequestError, match="not empty"):
        write_tiny_world(tmp_path, seed=11, **SIZES)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]
