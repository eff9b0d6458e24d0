"""Attacks what comes after a build: other thresholds, other models, twins, sources that vanish or stay broken.

Whatever the way, the rows must be those of one build from scratch with the last settings.
"""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from storage.dataset.clip_dataset import ClipDataset
from storage.dataset.tables import RowRef, read_table
from storage.errors import StorageError
from tasks.captions.settings import AestheticSettings
from tasks.errors import RequestError
from tasks.ingest.recipe import Digests
from tasks.ingest.rewriting import Rewrite, rewrite_rows
from tasks.ingest.scoring import ScoringModels
from tests.build_world import (
    BROKEN,
    LocalWorkers,
    RayWorkers,
    all_rows,
    build,
    keep_all,
    refilter,
    small_world,
)
from vidrd_model import VidRDPipeline


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("settle")


@pytest.fixture(scope="module")
def corpora(folder):
    return small_world(folder / "world", images=4, short_videos=3, class_videos=2, long_videos=1)


@pytest.fixture(scope="module")
def everything(folder, corpora, tiny_profile, workers) -> Path:
    """A dataset with all clips kept."""
    build(corpora, folder / "everything", keep_all(tiny_profile), workers=workers)
    return folder / "everything"


@pytest.fixture
def copy(everything, tmp_path) -> Path:
    return Path(shutil.copytree(everything, tmp_path / "copy"))


def _middle_score(dataset: Path) -> float:
    scores = sorted(row["clip_score"] for row in all_rows(dataset).values())
    return (scores[len(scores) // 2 - 1] + scores[len(scores) // 2]) / 2


def _reasons(dataset: Path) -> dict[str, str | None]:
    return {clip_id: row["reason"] for clip_id, row in all_rows(dataset).items()}


def test_rows_move_there_and_back_with_all_they_have(everything, copy, tiny_profile):
    before = all_rows(everything)
    strict = keep_all(tiny_profile, threshold=_middle_score(everything))
    summary = refilter(copy, strict)
    half = len(before) // 2
    assert (summary.moved, summary.encoded, summary.tag) == (half, 0, "build-0002")
    assert (summary.dataset_clips, summary.dataset_rejected) == (len(before) - half, half)
    moved = all_rows(copy)
    assert {row["reason"] for row in moved.values()} == {None, "clip_score"}
    assert {clip: row | {"reason": None} for clip, row in moved.items()} == before
    again = refilter(copy, strict)
    assert (again.moved, again.tag) == (0, "build-0002")
    assert refilter(copy, keep_all(tiny_profile)).moved == half
    assert all_rows(copy) == before
    assert all_rows(f"{copy}@build-0002") == moved


def test_what_was_never_encoded_is_encoded_as_if_from_the_start(
    everything, corpora, tmp_path, tiny_profile, workers
):
    strict = keep_all(tiny_profile, threshold=_middle_score(everything))
    first = build(corpora, tmp_path / "strict", strict, workers=workers)
    rejected = sum(first.rejected.values())
    assert first.encoded == first.kept and rejected > 3
    without = [row for row in all_rows(tmp_path / "strict").values() if row["latents"] is None]
    assert len(without) == rejected and any(row["video"] is None for row in without)
    summary = refilter(tmp_path / "strict", keep_all(tiny_profile), workers=workers)
    assert (summary.moved, summary.encoded, summary.unavailable) == (rejected, rejected, {})
    assert all_rows(tmp_path / "strict") == all_rows(everything)


def test_a_row_whose_source_is_gone_stays_rejected_and_is_named(everything, tmp_path, tiny_profile, workers):
    corpora = small_world(tmp_path / "world", images=4, short_videos=3, class_videos=2, long_videos=1)
    nothing = keep_all(tiny_profile, threshold=1.0)
    build(corpora, tmp_path / "dataset", nothing, workers=workers)
    images = tmp_path / "world" / "corpora" / "tiny-images"
    (images / "image_0000.jpg").unlink()
    shutil.copy(images / "image_0003.png", images / "image_0001.png")
    summary = refilter(tmp_path / "dataset", keep_all(tiny_profile), workers=workers)
    rows = all_rows(tmp_path / "dataset")
    left = {row["source_uri"]: row for row in rows.values() if row["reason"] is not None}
    assert set(left) == {"image_0000.jpg", "image_0001.png"} and all(
        r["latents"] is None for r in left.values()
    )
    assert set(summary.unavailable) == {row["clip_id"] for row in left.values()}
    assert summary.moved == summary.encoded == len(rows) - len(left)
    assert any("no longer the file" in error for error in summary.unavailable.values())
    assert {k: v for k, v in rows.items() if v["reason"] is None}.items() <= all_rows(everything).items()


def _other_model(folder: Path, copy_of: str, weights: str) -> str:
    shutil.copytree(copy_of, folder)
    tensors = load_file(folder / weights)
    generator = torch.Generator().manual_seed(0)
    for name in sorted(tensors):
        if tensors[name].is_floating_point() and "decoder" not in name:
            noise = torch.randn(tensors[name].shape, generator=generator)
            tensors[name] = tensors[name] * (1 + 0.1 * noise)
    save_file(tensors, folder / weights)
    return str(folder)


@pytest.mark.parametrize("is_killed", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_rows_of_other_models_are_made_anew_though_their_actor_is_killed(
    everything, copy, corpora, tmp_path, tiny_profile, is_killed, request
):
    if is_killed:
        request.getfixturevalue("ray_session")
    recipe = keep_all(tiny_profile)
    recipe = replace(
        recipe,
        model=_other_model(tmp_path / "model", recipe.model, "vae/diffusion_pytorch_model.safetensors"),
        clip_model=_other_model(tmp_path / "clip", recipe.clip_model, "open_clip_model.safetensors"),
    )
    before = all_rows(copy)
    killed = []

    def kill_before_it_encodes(done: int, total: int | None, note: str) -> None:
        if is_killed and note.endswith("are encoded"):
            import ray

            (actor,) = others.executor(1).scoring
            ray.kill(actor, no_restart=False)
            killed.append(note)

    with (RayWorkers if is_killed else LocalWorkers)(recipe, Digests.of(recipe)) as others:
        summary = build(corpora, copy, recipe, workers=others, on_progress=kill_before_it_encodes)
        assert len(killed) == is_killed
        build(corpora, tmp_path / "fresh", recipe, workers=others)
    assert (summary.skipped, summary.encoded, summary.rescored) == (summary.read, len(before), len(before))
    assert all_rows(copy) == all_rows(tmp_path / "fresh") != before


def test_another_head_needs_the_features_alone(everything, tmp_path, tiny_profile):
    """Models of today with an aesthetic head: features stay, no frame is asked for."""
    width, rows = 64, all_rows(everything)
    save_file({"weight": torch.ones(1, width), "bias": torch.zeros(1)}, tmp_path / "head.safetensors")
    recipe = replace(
        keep_all(tiny_profile), aesthetic=AestheticSettings(head=str(tmp_path / "head.safetensors"))
    )
    models = ScoringModels(recipe, Digests.of(recipe))
    version = ClipDataset.open(everything).version
    jobs = [Rewrite("", RowRef(everything, "clips", version, n), score=True) for n in range(3)]
    scorers = {row["scorer"] for row in rows.values()}
    for job in jobs:
        (row,) = read_table(*job.ref[:3]).whole_rows([job.ref.row])
        again = models.score_again(row, None)
        assert models.has_features_of(row)
        assert again["clip_score"] == row["clip_score"] and again["scorer"] not in scorers
        features = row["clip_features"].reshape(8, width).astype(np.float32)
        assert again["aesthetic"] == pytest.approx(features.sum(axis=1).mean(), abs=1e-3)
    gone = replace(jobs[0], place=None)  # neither its mp4 nor its source is looked at
    assert not rewrite_rows([gone], models).failures


def test_of_twins_the_smallest_stays_whatever_came_first(
    everything, corpora, tmp_path, tiny_profile, workers
):
    more = tmp_path / "more"
    more.mkdir()
    images = corpora.parent / "corpora" / "tiny-images"
    for name in ("image_0000.jpg", "image_0001.png", "image_0003.png"):
        shutil.copy(images / name, more / f"twin_{name}")
        caption = next(r["caption"] for r in all_rows(everything).values() if r["source_uri"] == name)
        (more / f"twin_{name}").with_suffix(".txt").write_text(caption)
    table = '\n[[corpus]]\nname = "twins"\nkind = "images"\nformat = "folder"\nlicence = "CC0-1.0"\n'
    both = corpora.parent / "both.toml"
    both.write_text(corpora.read_text() + table + f'path = "{more}"\n')
    only = tmp_path / "only.toml"
    only.write_text(table + f'path = "{more}"\n')
    recipe = keep_all(tiny_profile)
    recipe = replace(
        recipe,
        filter=recipe.filter.model_copy(update={"duplicates": "perceptual"}),
        # One still window: the twins' pseudo-videos would be drawn apart by their names.
        clips=recipe.clips.model_copy(update={"pseudo_video_min_window": 1.0}),
    )
    build(only, tmp_path / "twins-first", recipe, workers=workers)
    build(both, tmp_path / "twins-first", recipe, workers=workers)
    build(both, tmp_path / "at-once", recipe, workers=workers)
    found = all_rows(tmp_path / "at-once")
    assert found == all_rows(tmp_path / "twins-first")
    twins = {row["clip_id"]: row["duplicate_of"] for row in found.values() if row["reason"] == "duplicate"}
    assert len(twins) == 3 and all(kept < twin for twin, kept in twins.items())
    for twin, kept in twins.items():
        assert found[kept]["reason"] is None and found[kept]["split"] == found[twin]["split"]
        assert {"twins"} < {found[twin]["corpus"], found[kept]["corpus"]}
    # Where the one that stayed is taken away its twin comes back.
    (more / "twin_image_0000.jpg").unlink()
    (more / "twin_image_0001.png").unlink()
    build(both, tmp_path / "at-once", recipe, prune=True, workers=workers)
    assert list(_reasons(tmp_path / "at-once").values()).count("duplicate") == 1


def test_vanished_sources_are_reported_and_go_with_prune_only(tmp_path, tiny_profile, workers):
    corpora = small_world(tmp_path / "world", images=3, short_videos=2, class_videos=1, long_videos=1)
    recipe = keep_all(tiny_profile)
    build(corpora, tmp_path / "dataset", recipe, workers=workers)
    before = all_rows(tmp_path / "dataset")
    gone = tmp_path / "world" / "corpora" / "tiny-actions"
    (video,) = gone.rglob("*.avi")
    video.unlink()
    (gone / "a_green_dot").mkdir()
    shutil.copy(tmp_path / "world/corpora/tiny-clips/videos/truncated.mp4", gone / "a_green_dot" / "x.mp4")
    summary = build(corpora, tmp_path / "dataset", recipe, workers=workers)
    assert (summary.vanished, summary.pruned) == (1, 0) and all_rows(tmp_path / "dataset") == before
    summary = build(corpora, tmp_path / "dataset", recipe, prune=True, workers=workers)
    assert (summary.vanished, summary.pruned) == (1, 1)
    left = all_rows(tmp_path / "dataset")
    assert {row["corpus"] for row in before.values()} - {row["corpus"] for row in left.values()}
    assert left.items() < before.items()


def test_bad_sources_are_tried_again_when_asked(copy, corpora, tiny_profile, workers):
    info = ClipDataset.open(copy).info()
    assert {row["source_uri"]: row["attempts"] for row in info["quarantine"]} == dict.fromkeys(BROKEN, 1)
    before = all_rows(copy)
    summary = build(corpora, copy, keep_all(tiny_profile), retry_quarantine=True, workers=workers)
    assert summary.quarantined == len(BROKEN) and summary.kept == 0
    info = ClipDataset.open(copy).info()
    assert {row["source_uri"]: row["attempts"] for row in info["quarantine"]} == dict.fromkeys(BROKEN, 2)
    assert all_rows(copy) == before


def test_every_caption_gets_its_text_states_once(copy, corpora, tiny_profile):
    recipe = keep_all(tiny_profile, text_states=True)
    captions = {row["caption"] for row in all_rows(copy).values()}
    assert ClipDataset.open(copy).text_states(sorted(captions)) is None
    assert build(corpora, copy, recipe).text_states == len(captions)
    assert build(corpora, copy, recipe).text_states == 0
    asked = [*sorted(captions)[:3], min(captions)]
    states_ktd = ClipDataset.open(copy).text_states(asked)
    pipe = VidRDPipeline.from_pretrained(tiny_profile.model)
    with torch.no_grad():
        expected = pipe.encode_prompt(asked).numpy()
    np.testing.assert_allclose(states_ktd, expected, atol=2e-2)
    with pytest.raises(StorageError, match="no text states of 'never seen'"):
        ClipDataset.open(copy).text_states(["never seen"])


def test_a_filter_that_is_none_is_refused(tmp_path, tiny_profile):
    from flows.build_dataset.request import BuildDatasetParams, read_request

    with pytest.raises(RequestError, match="filter: min_mtion"):
        read_request(BuildDatasetParams(dataset=tmp_path / "d", filter={"min_mtion": 1}))
