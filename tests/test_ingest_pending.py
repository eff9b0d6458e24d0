"""A source is made anew where something that its rows depend on has changed, and nowhere else.

Corpora are looked through, committed, changed as a person would, and looked through again; nothing is decoded, so their
files are no pictures.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from flows.profile import Profile
from storage.dataset.writer import DatasetWriter, SourceGroup
from tasks.captions.settings import CaptionerSettings
from tasks.corpora.config import load_corpora
from tasks.ingest.items import Failure
from tasks.ingest.pending import Counts, Pending
from tasks.ingest.recipe import Recipe
from tasks.ingest.rows import quarantine_row, source_row
from tests.build_world import keep_all

MANIFEST = """file,caption,licence,start_s,end_s
a.png,a red circle,CC-BY-4.0,,
b.png,a blue square,,,
film.mp4,a walk,,1,2
film.mp4,a run,,2,3
bare.png,,,,
"""
CORPORA = """
[[corpus]]
name = "shown"
kind = "short-videos"
format = "folder"
path = "shown"
licence = "CC0-1.0"

[[corpus]]
name = "actions"
kind = "short-videos"
format = "class-folders"
path = "actions"
licence = "CC0-1.0"
prompt_template = "a person doing {label}"
"""
SHOWN, ACTIONS = {"a.png", "b.png", "bare.png", "film.mp4"}, {"run/one.avi", "run/two.avi"}


@dataclass(frozen=True)
class World:
    """Two corpora of six sources, one of them without a caption, and a dataset that may know them."""

    folder: Path
    recipe: Recipe

    def pending(self, recipe: Recipe | None = None, again: bool = False) -> set[str]:
        """The sources that need work."""
        with self.writer() as writer:
            found = Pending(self.corpora(recipe), writer, recipe or self.recipe, again)
            uris = [source.uri for source, _ in found]
            assert len(uris) == len(set(uris)) == len(list(found)) == found.count().pending
            return set(uris)

    def counts(self) -> Counts:
        """What a look through the corpora counts."""
        with self.writer() as writer:
            return Pending(self.corpora(), writer, self.recipe).count()

    def commit(self, failed: set[str] | None = None) -> None:
        """As a build leaves it that has made a clip of each source, but for those that failed."""
        with self.writer() as writer:
            group = SourceGroup()
            for source, signature in list(Pending(self.corpora(), writer, self.recipe)):
                failure = Failure("decode", "no frames") if source.uri in (failed or set()) else None
                group.sources.append(source_row(source, signature, "digest", int(failure is None), failure))
                if failure is not None:
                    group.quarantine.append(quarantine_row(source, failure, 0))
            writer.commit(group)
            writer.finish({})

    def writer(self) -> DatasetWriter:
        """To be used as a context, one at a time."""
        return DatasetWriter(self.folder / "dataset", (8, 4, 8, 8))

    def corpora(self, recipe: Recipe | None = None) -> list:
        """As they are now."""
        return load_corpora(self.folder / "corpora.toml", (recipe or self.recipe).captions_needed)


@pytest.fixture
def world(tmp_path: Path, tiny_profile: Profile) -> World:
    shown, actions = tmp_path / "shown", tmp_path / "actions"
    for path in (*(shown / name for name in SHOWN), *(actions / name for name in ACTIONS)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(path.name.encode())
    (shown / "manifest.csv").write_text(MANIFEST)
    lists = actions / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "trainlist01.txt").write_text("run/one.avi 1\n")
    (lists / "testlist01.txt").write_text("run/two.avi\n")
    (tmp_path / "corpora.toml").write_text(CORPORA)
    return World(tmp_path, keep_all(tiny_profile))


def _replaced(name: str, before: str, after: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert before in text
        (folder / name).write_text(text.replace(before, after, 1))

    return change


def _touched(folder: Path) -> None:
    os.utime(folder / "shown" / "b.png", ns=(1, 1))


def _test_list_moved(folder: Path) -> None:
    lists = folder / "actions" / "ucfTrainTestlist"
    (lists / "trainlist01.txt").write_text("run/one.avi 1\nrun/two.avi 1\n")
    (lists / "testlist01.txt").write_text("")


CHANGES: dict[str, tuple[Callable[[Path], None], set[str]]] = {
    "nothing": (lambda _: None, set()),
    "the manifest written again": (
        lambda folder: os.utime(folder / "shown" / "manifest.csv", ns=(1, 1)),
        set(),
    ),
    "a caption": (_replaced("shown/manifest.csv", "a red circle", "a red square"), {"a.png"}),
    "blanks of a caption as it was given": (_replaced("shown/manifest.csv", "a red", "a  red"), {"a.png"}),
    "a licence in the manifest": (_replaced("shown/manifest.csv", "CC-BY-4.0", "CC-BY-SA-4.0"), {"a.png"}),
    "a licence where there was none": (_replaced("shown/manifest.csv", "a run,", "a run,MIT"), {"film.mp4"}),
    "the start of a span": (_replaced("shown/manifest.csv", ",1,2", ",0,2"), {"film.mp4"}),
    "the end of a span": (_replaced("shown/manifest.csv", ",2,3", ",2,4"), {"film.mp4"}),
    "other bytes": (
        lambda folder: (folder / "shown" / "b.png").write_bytes(b"longer than it was"),
        {"b.png"},
    ),
    "another time of the file": (_touched, {"b.png"}),
    "a file that has gone": (lambda folder: (folder / "shown" / "a.png").unlink(), {"a.png"}),
    "a file that has come": (lambda folder: (folder / "actions/run/new.avi").touch(), {"run/new.avi"}),
    "the split of a test list": (_test_list_moved, {"run/two.avi"}),
    "the licence of a corpus": (
        _replaced(
            "corpora.toml", 'path = "actions"\nlicence = "CC0-1.0"', 'path = "actions"\nlicence = "MIT"'
        ),
        ACTIONS,
    ),
    "the kind of a corpus": (
        _replaced(
            "corpora.toml", 'kind = "short-videos"\nformat = "class', 'kind = "long-videos"\nformat = "class'
        ),
        ACTIONS,
    ),
    "the sentence of a class": (_replaced("corpora.toml", "a person doing", "somebody at"), ACTIONS),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_has_changed_is_made_anew_and_nothing_else(world: World, change: str) -> None:
    assert world.pending() == SHOWN | ACTIONS
    world.commit()
    assert world.pending() == set()
    make, wanted = CHANGES[change]
    make(world.folder)
    assert world.pending() == wanted


def test_settings_that_make_other_clips_make_everything_anew(world: World) -> None:
    world.commit()
    recipe = world.recipe
    clips = replace(recipe, clips=recipe.clips.model_copy(update={"max_shot_s": 3.0}))
    videos = replace(recipe, build=recipe.build.model_copy(update={"videos": ("images",)}))
    in_order = tuple(reversed(recipe.build.videos))
    assert world.pending(clips) == world.pending(videos) == SHOWN | ACTIONS
    assert world.pending(replace(recipe, build=recipe.build.model_copy(update={"videos": in_order}))) == set()
    filters = replace(recipe, filter=recipe.filter.model_copy(update={"clip_threshold": 0.9}))
    assert world.pending(filters) == set()  # the rows that there are tell on which side they are


def test_another_captioner_makes_anew_what_it_captions(world: World) -> None:
    world.commit()
    first, second = (
        World(world.folder, replace(world.recipe, captioner=CaptionerSettings(model=name)))
        for name in ("a model", "another")
    )
    assert first.pending() == {"bare.png"}  # which had no caption, and so no clip
    first.commit()
    assert first.pending() == set() and second.pending() == {"bare.png"}


def test_sources_that_vanish_are_named_and_those_of_other_corpora_are_not(world: World) -> None:
    world.commit(failed={"b.png"})
    counts = world.counts()
    assert (counts.read, counts.pending, counts.vanished) == (6, 0, [])
    for name in ("shown/a.png", "shown/b.png", "actions/run/one.avi"):
        (world.folder / name).unlink()
    counts = world.counts()
    # What gave no clip has none to lose, and a list of UCF-101 names no file that has to be there.
    assert len(counts.vanished) == 2 and counts.pending == 2
    (world.folder / "corpora.toml").write_text(CORPORA[: CORPORA.rindex("[[corpus]]")])
    assert len(world.counts().vanished) == 1 and world.counts().read == 4


def test_what_failed_is_tried_again_only_when_asked(world: World) -> None:
    world.commit(failed={"b.png", "run/two.avi"})
    assert world.pending() == set()
    assert world.pending(again=True) == {"b.png", "run/two.avi"}
    with world.writer() as writer:
        pending = Pending(world.corpora(), writer, world.recipe, again=True)
        first, *_ = (source for source, _ in pending)
        pending.tried(first.source_id)
        assert first.source_id not in {source.source_id for source, _ in pending}
        assert pending.count().pending == 1
