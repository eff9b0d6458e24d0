"""Attacks the two losses in this process: targets, frozen parts, and figures that come out the same twice."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler

from tasks.training.data import global_batch
from tasks.training.decoder_trainee import DecoderTrainee
from tasks.training.settings import DecoderSettings, TemporalSettings
from tasks.training.temporal_trainee import TemporalTrainee
from tests.training_dataset import write_training_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, tiny_profile) -> Path:
    return write_training_dataset(tmp_path_factory.mktemp("clips") / "d", Path(tiny_profile.model), 9, 8, 1)


def temporal_trainee(dataset: Path, model: str, **settings) -> TemporalTrainee:
    return TemporalTrainee(str(dataset), model, TemporalSettings(heldout_samples=6, **settings))


@pytest.mark.parametrize("name", ["temporal", "paper", "all"])
def test_only_the_named_set_gets_gradients(dataset, tiny_profile, name):
    trainee = temporal_trainee(dataset, tiny_profile.model, trainable=name)
    trainee.loss(trainee.model, global_batch(trainee.train_clips, 0, 0, 2)).backward()
    with_gradient = {key for key, p in trainee.model.named_parameters() if p.grad is not None}
    marks = {"temporal": ("temp_",), "paper": ("temp_", "attn1", "attn2"), "all": ("",)}[name]
    assert with_gradient == {
        key for key, _ in trainee.model.named_parameters() if any(mark in key for mark in marks)
    }


def test_a_v_model_is_trained_on_v(dataset, tiny_profile, tmp_path):
    trainee = temporal_trainee(dataset, tiny_profile.model)
    trainee.model.eval()
    clips = [item.clip for item in global_batch(trainee.train_clips, 0, 0, 1)]
    steps_b, noise = torch.tensor([700]), torch.randn(1, 4, 8, 8, 8)
    clean = torch.tensor(trainee.dataset.latents([clips[0].row])).transpose(1, 2).float()
    signal = trainee.scheduler.alphas_cumprod[700] ** 0.5
    spread = (1 - signal**2) ** 0.5
    with torch.no_grad():
        text = trainee.pipe.encode_prompt([clips[0].caption])
        predicted = trainee.model(signal * clean + spread * noise, steps_b, text).sample
        of_epsilon = trainee._errors(trainee.model, clips, [clips[0].caption], steps_b, noise)
        trainee.scheduler = type(trainee.scheduler).from_config(
            DDIMScheduler.from_config(trainee.scheduler.config, prediction_type="v_prediction").config
        )
        of_v = trainee._errors(trainee.model, clips, [clips[0].caption], steps_b, noise)
    torch.testing.assert_close(of_epsilon[0], F.mse_loss(predicted, noise))
    torch.testing.assert_close(of_v[0], F.mse_loss(predicted, signal * noise - spread * clean))


def test_heldout_figures_belong_to_the_sample_not_to_the_batch(dataset, tiny_profile):
    trainee = temporal_trainee(dataset, tiny_profile.model, batch_size=4)
    trainee.model.eval()
    with torch.no_grad():
        together = trainee.heldout_figures(range(6))
        apart = [trainee.heldout_figures([i])[0] for i in (3, 0)]
    assert [apart[0]["loss"], apart[1]["loss"]] == pytest.approx(
        [together[3]["loss"], together[0]["loss"]], 1e-4
    )
    assert len({round(figures["loss"], 5) for figures in together}) == 6


def test_the_decoder_trains_temporal_layers_only(dataset, tiny_profile):
    trainee = DecoderTrainee(str(dataset), tiny_profile.model, DecoderSettings(heldout_samples=4))
    assert trainee.heldout_size == 4
    trainee.loss(trainee.model, global_batch(trainee.train_clips, 0, 0, 2)).backward()
    with_gradient = {key for key, p in trainee.model.named_parameters() if p.grad is not None}
    assert with_gradient and all(".temp_" in key and ".decoder." in key for key in with_gradient)
    with torch.no_grad():
        figures = trainee.heldout_figures([0])[0]
    assert figures["loss"] == pytest.approx(figures["l1"] + figures["temporal_l1"])
