"""Attacks the two losses in this process: targets, frozen parts, and figures that come out the same twice."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler

from storage.dataset.clip_dataset import ClipDataset
from tasks.generation.settings import SamplingSettings
from tasks.training.decoder_part import DecoderPart
from tasks.training.sampler import ClipOrder
from tasks.training.settings import DecoderSettings, TemporalSettings
from tasks.training.temporal_part import TemporalPart
from tests.training_dataset import write_training_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, tiny_profile) -> Path:
    return write_training_dataset(tmp_path_factory.mktemp("clips") / "d", Path(tiny_profile.model), 9, 8, 1)


def temporal_part(dataset: Path, model: str, **settings) -> TemporalPart:
    chosen = TemporalSettings(heldout_samples=6, **settings)
    part = TemporalPart(str(dataset), model, chosen, SamplingSettings())
    part.prepare(torch.device("cpu"))
    return part


def first_batch(part, batch_size: int):
    return part.reader.read([ClipOrder(part.train_clips, 0).batch(0, batch_size)])[0]


@pytest.mark.parametrize("name", ["temporal", "paper", "all"])
def test_only_the_named_set_gets_gradients(dataset, tiny_profile, name):
    part = temporal_part(dataset, tiny_profile.model, trainable=name)
    part.losses(part.model, first_batch(part, 2), 0).mean().backward()
    with_gradient = {key for key, p in part.model.named_parameters() if p.grad is not None}
    marks = {"temporal": ("temp_",), "paper": ("temp_", "attn1", "attn2"), "all": ("",)}[name]
    assert with_gradient == {
        key for key, _ in part.model.named_parameters() if any(mark in key for mark in marks)
    }


@pytest.mark.parametrize("target", ["epsilon", "v_prediction"])
def test_a_model_is_trained_on_what_its_scheduler_says(dataset, tiny_profile, target):
    part = temporal_part(dataset, tiny_profile.model, caption_dropout=0.0)
    part.scheduler = DDPMScheduler.from_config(part.scheduler.config, prediction_type=target)
    part.model.eval()
    batch = first_batch(part, 2)
    clips = [item.clip for item in batch.clips]
    latents_bnchw = torch.tensor(
        ClipDataset.open(dataset).clips.tensors([clip.row for clip in clips], "latents")
    )
    clean, noise = latents_bnchw.transpose(1, 2).float(), batch.noise_bcnhw
    signal = part.scheduler.alphas_cumprod[batch.timesteps_b][:, None, None, None, None] ** 0.5
    spread = (1 - signal**2) ** 0.5
    with torch.no_grad():
        text = part.pipe.encode_prompt([clip.caption for clip in clips])
        predicted = part.model(signal * clean + spread * noise, batch.timesteps_b, text).sample
        losses_b = part.losses(part.model, batch, 0)
    wanted = noise if target == "epsilon" else signal * noise - spread * clean
    by_hand_b = F.mse_loss(predicted, wanted, reduction="none").flatten(1).mean(1)
    torch.testing.assert_close(losses_b, by_hand_b)


def test_heldout_figures_belong_to_the_sample_not_to_the_batch(dataset, tiny_profile):
    part = temporal_part(dataset, tiny_profile.model, batch_size=4)
    part.model.eval()
    with torch.no_grad():
        together = part.heldout_figures(range(6))
        apart = [part.heldout_figures([i])[0] for i in (3, 0)]
    assert [apart[0]["loss"], apart[1]["loss"]] == pytest.approx(
        [together[3]["loss"], together[0]["loss"]], 1e-4
    )
    assert len({round(figures["loss"], 5) for figures in together}) == 6


def test_the_decoder_trains_temporal_layers_only(dataset, tiny_profile):
    part = DecoderPart(str(dataset), tiny_profile.model, DecoderSettings(heldout_samples=4))
    part.prepare(torch.device("cpu"))
    assert part.heldout_size == 4
    part.losses(part.model, first_batch(part, 2), 0).mean().backward()
    with_gradient = {key for key, p in part.model.named_parameters() if p.grad is not None}
    assert with_gradient and all(".temp_" in key and ".decoder." in key for key in with_gradient)
    with torch.no_grad():
        figures = part.heldout_figures([0])[0]
    assert figures["loss"] == pytest.approx(figures["l1"] + figures["temporal_l1"])
