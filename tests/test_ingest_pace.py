"""How many clips go at once, and what is seen of a build before its first source is done."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.dataset.clip_dataset import ClipDataset
from tasks.ingest.executor import Executor
from tasks.ingest.local_pool import LocalPool
from tasks.ingest.pace import BATCH_S, PACE_FILE, Pace, Progress, batch_clips, note_pace, noted_pace
from tasks.ingest.recipe import Digests
from tasks.ingest.scoring import ScoringModels
from tests.build_world import LocalWorkers, all_rows, build, keep_all, small_world


@given(clip_s=st.floats(0, 1e4), at_once=st.integers(1, 64), most=st.integers(1, 64))
def test_a_batch_is_as_large_as_half_a_minute_allows(clip_s, at_once, most):
    chosen = batch_clips(clip_s, at_once, most)
    assert 1 <= chosen <= most
    turns = -(-chosen // at_once)
    assert turns == 1 or turns * clip_s <= BATCH_S
    if chosen < most:  # one more would be too many
        assert -(-(chosen + 1) // at_once) * clip_s > BATCH_S


@pytest.mark.parametrize("junk", ["", "[]", "{", "3", '{"batch_clips": 0}', '{"device": 1, "other": 2}'])
def test_what_is_no_note_is_measured_anew(tmp_path, junk):
    (tmp_path / PACE_FILE).write_text(junk)
    assert noted_pace(tmp_path) is None
    note_pace(tmp_path, Pace("cpu", ["a", "b"], 1.5, 3))
    assert noted_pace(tmp_path) == Pace("cpu", ["a", "b"], 1.5, 3)


def test_a_note_holds_for_its_models_and_device(tiny_profile):
    recipe = tiny_profile.recipe()
    models = ScoringModels(recipe, Digests.of(recipe), threads=2)
    measured = models.pace(recipe.clips, None)
    assert measured.clip_s > 0 and measured.batch_clips == recipe.build.batch_clips
    slow = replace(measured, clip_s=40.0, batch_clips=1)
    assert models.pace(recipe.clips, slow) is slow
    for other in (replace(slow, device="H100"), replace(slow, models=["x", "y"])):
        assert models.pace(recipe.clips, other).batch_clips == recipe.build.batch_clips


@pytest.mark.parametrize(
    ("after_s", "told"), [(5.0, "(2.0 a second)"), (10.0, "(1.0 a second)"), (20, "(30.0 a minute)")]
)
def test_a_rate_is_told_in_seconds_or_minutes(monkeypatch, after_s, told):
    seconds = iter((100.0, 100.0 + after_s))
    monkeypatch.setattr("tasks.ingest.pace.time.monotonic", lambda: next(seconds))
    seen = Progress()
    seen.add(read=12, scored=10, encoded=8)
    assert seen.note() == f"clips: 12 read, 10 scored {told}, 8 encoded"


class CountingPool(LocalPool):
    """Notes the size of every batch."""

    sizes: tuple[int, ...] = ()

    def score(self, worker: int, settings: Any, reuse: Any, clips: Any) -> Any:
        self.sizes += (len(clips),)
        return super().score(worker, settings, reuse, clips)


class CountingWorkers(LocalWorkers):
    def _start_local(self, items: int) -> Executor:
        return CountingPool(self._recipe, self._digests, items)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory) -> Path:
    return small_world(tmp_path_factory.mktemp("pace") / "world", 2, 2, 2, 2)


def test_the_choice_is_kept_and_decides_no_row(corpora, tmp_path, tiny_profile):
    recipe = keep_all(tiny_profile)
    digests = Digests.of(recipe)
    rows = {}
    for chosen in (1, 3):
        dataset = tmp_path / str(chosen)
        dataset.mkdir()
        noted = Pace("cpu", [digests.encoder, digests.scorer], 12.0, chosen)
        note_pace(dataset, noted)
        before = psutil.Process().children()
        with CountingWorkers(recipe, digests) as workers:
            build(corpora, dataset, recipe, workers=workers)
            sizes = workers.executor(1).sizes
            decoders = set(psutil.Process().children()) - set(before)
        assert decoders and not any(decoder.is_running() for decoder in decoders)
        assert max(sizes) <= chosen and sum(sizes) == len(all_rows(dataset))
        assert noted_pace(dataset) == noted
        rows[chosen] = all_rows(dataset)
    assert rows[1] == rows[3]


def test_clips_are_seen_before_a_source_is_done(corpora, tmp_path, tiny_profile):
    """One film at a time: what was read, scored and encoded of it counts, and its share of the whole."""
    films = corpora.parent / "films.toml"
    tables = corpora.read_text().split("[[corpus]]")
    films.write_text("[[corpus]]" + next(table for table in tables if "long-videos" in table))
    recipe = keep_all(tiny_profile, decoders=1, batch_clips=1)
    notes: list[tuple[float, int | None, str]] = []
    with CountingWorkers(recipe, Digests.of(recipe)) as workers:
        summary = build(
            films, tmp_path / "d", recipe, workers=workers, on_progress=lambda *note: notes.append(note)
        )
    assert summary.read == 2 and summary.clips > 2
    assert summary.kept_by_kind == {"long-videos": summary.kept} and summary.encoded == summary.kept
    assert "the models are loaded and timed" in notes[1][2]
    counted = [note for note in notes if note[2].startswith("clips: ")]
    before_the_first = [note for note in counted if "; 0 clips kept" in note[2]]
    assert any("1 scored" in text and "1 encoded" in text for _, _, text in before_the_first)
    assert any(0 < done < 1 for done, _, _ in before_the_first)
    dones = [done for done, _, _ in counted]
    assert dones == sorted(dones) and dones[-1] == 2
    assert f"clips: {summary.clips} read, {summary.clips} scored" in counted[-1][2]
    assert json.loads((tmp_path / "d" / PACE_FILE).read_text())["batch_clips"] == 1
    assert len(ClipDataset.open(tmp_path / "d")) == summary.clips
