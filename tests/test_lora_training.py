"""Attacks the training of LoRA layers: what moves, what is written, and what other loaders make of it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from tasks.generation.settings import SamplingSettings
from tasks.training.checkpoints import CheckpointStore
from tasks.training.devices import Group
from tasks.training.engine import Training
from tasks.training.settings import LoraSettings, TemporalSettings
from tasks.training.temporal_part import TemporalPart
from tasks.training.trained_layers import set_trained
from tasks.training.trained_lora import LORA_FOLDER, TEMPORAL_LAYERS_FILE, save_trained_lora
from tests.quiet_pipeline import quiet_pipeline
from tests.recoloured_model import image_model
from vidrd_model import ModelError, TemporalUNet, VidRDPipeline
from vidrd_model.lora_training import IMAGE_LORA_FILE, TEMPORAL_LORA_FILE, add_lora, fold_lora
from vidrd_model.temporal_layers import TEMPORAL_MARK

QUICK: dict[str, Any] = {
    **{"steps": 4, "batch_size": 2, "num_workers": 1, "threads": 1, "warmup_steps": 0, "lr": 1e-2},
    **{"heldout_samples": 2, "log_every": 1, "checkpoint_every": 2, "ema_decay": 0.0, "trainable": "lora"},
}
KINDS = {
    "all, temporal whole": {"targets": "all", "rank": 4},
    "cross-attention, both": {"targets": "cross-attention", "temporal": "lora", "rank": 2, "alpha": 5.0},
    "motion alone": {"targets": "temporal", "temporal": "lora", "rank": 3, "rslora": True},
    "dora": {"targets": "cross-attention", "rank": 2, "dora": True},
}


class Silent:
    """Hears of a training and says nothing; may end it after so many steps, as a power cut would."""

    def __init__(self, ends_after: int | None = None) -> None:
        self._ends_after = ends_after

    def started(self, step: int) -> None: ...

    def figures(self, points: list[tuple[int, dict[str, float]]]) -> None:
        if self._ends_after is not None and points and points[-1][0] + 1 >= self._ends_after:
            raise KeyboardInterrupt

    def video(self, step: int, name: str, mp4: bytes) -> None: ...


def _settings(**lora: Any) -> TemporalSettings:
    return TemporalSettings(**QUICK, lora=LoraSettings(**lora))


def _trained(dataset: Path, model: Path, store: Path, settings: TemporalSettings, told: Silent) -> Training:
    done = Training(TemporalPart(str(dataset), str(model), settings, SamplingSettings()), settings, Group())
    done.run(CheckpointStore(str(store), "config", 2), told)
    return done


@pytest.fixture(scope="module", params=KINDS)
def trained(
    request: pytest.FixtureRequest, training_clips: Path, small_model: Path, tmp_path_factory: Any
) -> tuple[TemporalSettings, Training, Path]:
    """A training of each kind and the model folder that it writes."""
    folder = tmp_path_factory.mktemp("lora")
    settings = _settings(**KINDS[request.param])
    done = _trained(training_clips, small_model, folder / "store", settings, Silent())
    save_trained_lora(str(small_model), folder / "model", settings, done.ema.weights)
    return settings, done, folder / "model"


def _predicted(unet: nn.Module, frames: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    noisy_bcnhw = torch.randn(1, 4, frames, 8, 8, generator=generator)
    text_btd = torch.randn(1, 5, 128, generator=generator)
    with torch.no_grad():
        predicted: torch.Tensor = unet.eval()(noisy_bcnhw, torch.tensor([300]), text_btd).sample
    return predicted


def test_frozen_weights_stay_and_the_layers_learn(
    small_model: Path, trained: tuple[TemporalSettings, Training, Path]
) -> None:
    settings, done, _ = trained
    whole = settings.lora.temporal == "whole"
    before = dict(quiet_pipeline(small_model).unet.named_parameters())
    for name, parameter in done.part.model.named_parameters():
        is_trained = ".lora_" in name or (whole and TEMPORAL_MARK in name)
        assert (name in done.trained) is is_trained, name
        if not is_trained:
            assert torch.equal(parameter, before[name.replace(".base_layer", "")]), name
    ups = [value for name, value in done.trained.items() if ".lora_B." in name]
    assert ups and all(bool(up.any()) for up in ups)
    assert all(figures["loss"] > 0 for figures in done.progress.heldout.values())


def test_the_folder_is_an_ordinary_model_with_all_folded_in(
    trained: tuple[TemporalSettings, Training, Path],
) -> None:
    _, done, folder = trained
    unet = quiet_pipeline(folder).unet
    assert not any(".lora_" in name for name in unet.state_dict())
    torch.testing.assert_close(_predicted(unet), _predicted(done.part.model), rtol=0, atol=2e-4)


def test_the_files_do_the_same_beside_the_base(
    small_model: Path, trained: tuple[TemporalSettings, Training, Path]
) -> None:
    settings, _, folder = trained
    lora = settings.lora
    files = {file.name for file in (folder / LORA_FOLDER).iterdir()}
    wanted = {TEMPORAL_LAYERS_FILE} if lora.temporal == "whole" else {TEMPORAL_LORA_FILE}
    assert files == wanted | ({IMAGE_LORA_FILE} if lora.targets != "temporal" else set())
    if lora.dora:
        return  # our loader refuses DoRA by name, diffusers' reads it: the next test
    pipe = quiet_pipeline(small_model)
    if lora.temporal == "whole":
        image_model(pipe).save_pretrained(folder.parent / "image")
        layers = folder / LORA_FOLDER / TEMPORAL_LAYERS_FILE
        pipe = VidRDPipeline.from_image_model(folder.parent / "image", temporal=layers)
    for name in files & {IMAGE_LORA_FILE, TEMPORAL_LORA_FILE}:
        pipe.load_lora_weights(folder / LORA_FOLDER, weight_name=name, adapter_name=name.partition(".")[0])
    pipe.set_adapters([name.partition(".")[0] for name in files & {IMAGE_LORA_FILE, TEMPORAL_LORA_FILE}])
    wanted_bcnhw = _predicted(quiet_pipeline(folder).unet)
    torch.testing.assert_close(_predicted(pipe.unet), wanted_bcnhw, rtol=0, atol=2e-4)


def test_diffusers_own_pipeline_of_images_loads_the_image_layers(
    small_model: Path, trained: tuple[TemporalSettings, Training, Path]
) -> None:
    settings, done, folder = trained
    if settings.lora.targets == "temporal":
        assert not (folder / LORA_FOLDER / IMAGE_LORA_FILE).exists()
        return
    images = image_model(quiet_pipeline(small_model))
    images.load_lora_weights(folder / LORA_FOLDER, weight_name=IMAGE_LORA_FILE)
    generator = torch.Generator().manual_seed(0)
    noisy_bchw = torch.randn(1, 4, 8, 8, generator=generator)
    text_btd = torch.randn(1, 5, 128, generator=generator)
    with torch.no_grad():
        got = images.unet(noisy_bchw, torch.tensor([300]), text_btd).sample
        plain = done.part.model.eval()
        wanted = plain(noisy_bchw[:, :, None], torch.tensor([300]), text_btd).sample[:, :, 0]
    torch.testing.assert_close(got, wanted, rtol=0, atol=2e-4)


def test_a_training_that_was_cut_off_ends_as_if_it_had_not_been(
    training_clips: Path, small_model: Path, tmp_path: Path
) -> None:
    settings = _settings(**KINDS["cross-attention, both"])
    undisturbed = _trained(training_clips, small_model, tmp_path / "whole", settings, Silent())
    with pytest.raises(KeyboardInterrupt):
        _trained(training_clips, small_model, tmp_path / "cut", settings, Silent(ends_after=3))
    resumed = _trained(training_clips, small_model, tmp_path / "cut", settings, Silent())
    assert resumed.progress.curves == undisturbed.progress.curves
    assert all(
        torch.equal(value, resumed.ema.weights[name]) for name, value in undisturbed.ema.weights.items()
    )


def test_fresh_layers_change_nothing_and_hang_on_the_seed_alone(small_model: Path) -> None:
    unet = TemporalUNet.from_pretrained(small_model, subfolder="unet")
    before = _predicted(unet)
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(states))  # what a worker has drawn before must not matter
        other = copy.deepcopy(unet)
        set_trained(other, TemporalSettings(**QUICK | {"seed": seed}))
        torch.testing.assert_close(_predicted(other), before, rtol=0, atol=1e-5)
        states.append({name: value for name, value in other.state_dict().items() if ".lora_A." in name})
        fold_lora(other)
        assert other.state_dict().keys() == unet.state_dict().keys()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert not all(torch.equal(value, states[2][name]) for name, value in states[0].items())


def test_trainings_without_lora_are_those_of_earlier_versions() -> None:
    assert (
        "lora" not in TemporalSettings(**QUICK | {"trainable": "temporal", "lora": {"rank": 3}}).model_dump()
    )
    assert _settings(rank=3).model_dump()["lora"]["rank"] == 3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lora": {"targets": "temporal"}}, "targets temporal leaves no LoRA layer where temporal is whole"),
        ({"lora": {"dora": True, "temporal": "lora"}}, "dora: temporal layers begin as zeros"),
        ({"lora": {"rank": 0}}, "greater than or equal to 1"),
        ({"lora": {"target": "all"}}, "Extra inputs are not permitted"),
    ],
)
def test_what_does_not_go_together_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TemporalSettings(**QUICK | changes)


def test_unknown_targets_are_named(small_model: Path) -> None:
    unet = TemporalUNet.from_pretrained(small_model, subfolder="unet")
    with pytest.raises(ModelError, match="targets must be one of temporal, cross-attention, all, not 'text'"):
        add_lora(unet, rank=1, alpha=1, targets="text", temporal_whole=True)
