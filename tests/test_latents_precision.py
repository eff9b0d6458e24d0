"""Latents in lower precisions: near those of float32, under names of their own, and never a surprise."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from flows.retrain.request import RetrainParams, read_request
from storage.dataset.clip_dataset import ClipDataset
from tasks.ingest.recipe import Digests
from tasks.latents.encoder import LatentEncoder, Latents
from tasks.latents.precision import products_in
from tasks.model_files import encoder_digest, vae_of
from tasks.tiny.world.drawing import draw_clip, random_scene
from tests.build_world import LocalWorkers, all_rows, build, keep_all, refilter, small_world


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [draw_clip(random_scene(rng), rng) for _ in range(4)]


def means(encoder: LatentEncoder, clips: list[np.ndarray]) -> np.ndarray:
    return np.stack([made.mean_nchw for made in encoder.encode(clips) if isinstance(made, Latents)])


def test_bfloat16_is_near_float32(clips, tiny_profile):
    """Its numbers have 8 bits, so an error of some thousandths of the latents' spread is what there is to get."""
    exact = means(LatentEncoder(tiny_profile.model), clips).astype(float)
    near = means(LatentEncoder(tiny_profile.model, precision="bfloat16"), clips).astype(float)
    error = np.sqrt(np.mean((near - exact) ** 2)) / exact.std()
    assert 1e-4 < error < 0.02


@pytest.mark.slow
@pytest.mark.gate
def test_a_clip_does_not_see_its_company_in_bfloat16_either(clips, tiny_profile):
    for pass_frames in (None, 20):
        encoder = LatentEncoder(tiny_profile.model, pass_frames=pass_frames, precision="bfloat16")
        together = means(encoder, clips)
        for index in (3, 0):
            np.testing.assert_array_equal(means(encoder, clips[index : index + 1])[0], together[index])


def test_products_are_as_they_were_afterwards():
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    for precision, allowed in (("float32", False), ("tf32", True), ("bfloat16", False)):
        with products_in(precision):
            assert torch.backends.cuda.matmul.allow_tf32 is torch.backends.cudnn.allow_tf32 is allowed
        assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == before


def test_float32_keeps_its_digest_and_others_add_to_it(tiny_profile):
    plain = encoder_digest(tiny_profile.model)
    assert plain == "0d98911f304394fc8ece82f5d3476a8a"  # of datasets that are there
    for precision in ("tf32", "bfloat16"):
        named = Digests.of(keep_all(tiny_profile, precision=precision)).encoder
        assert named == f"{plain}+{precision}" and vae_of(named) == plain
    assert Digests.of(keep_all(tiny_profile)).encoder == plain


@pytest.mark.slow
@pytest.mark.gate
def test_another_precision_says_first_what_it_encodes_again(tmp_path: Path, tmp_home, tiny_profile):
    corpora = small_world(tmp_path / "world", images=2, short_videos=2, class_videos=1, long_videos=1)
    exact, near = keep_all(tiny_profile), keep_all(tiny_profile, precision="bfloat16")
    notes: list[str] = []

    def told(done: float, total: int | None, note: str) -> None:
        notes.append(note)

    with LocalWorkers(exact, Digests.of(exact)) as workers:
        build(corpora, tmp_path / "d", exact, workers=workers, on_progress=told)
        assert not any("precision" in note for note in notes)
        before = all_rows(tmp_path / "d")
        notes.clear()
        with LocalWorkers(near, Digests.of(near)) as others:
            assert not workers.fit(near)
            summary = build(corpora, tmp_path / "d", near, workers=others, on_progress=told)
        what = f"{len(before)} clips encoded in another precision are encoded again, in bfloat16"
        assert notes[0] == f"{summary.read} of {summary.read} sources are done already; {what}"
        assert (summary.encoded, summary.rescored) == (len(before), 0)
        after = all_rows(tmp_path / "d")
        changed = {
            name for clip in before for name in before[clip] if before[clip][name] != after[clip][name]
        }
        assert changed == {"latents", "encoder"}
        # A model understands them: they are its VAE's.
        assert read_request(RetrainParams(dataset=str(tmp_path / "d"), profile="tiny"), only_plan=True)
        notes.clear()
        refilter(tmp_path / "d", exact, workers=workers, on_progress=told)
        assert notes[0].endswith("are encoded again, in float32")
        assert all_rows(tmp_path / "d") == before
    assert ClipDataset.open(tmp_path / "d").tag == "build-0003"
    other = replace(exact, model=str(tmp_path))
    assert not LocalWorkers(exact, Digests.of(exact)).fit(other)
