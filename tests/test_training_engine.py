"""Attacks the training loop in this process: restarts, accumulation, what is not finite, averages, what it tells."""

import copy
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tasks.errors import RequestError
from tasks.generation.settings import SamplingSettings
from tasks.training.checkpoints import CheckpointStore, snapshot
from tasks.training.decoder_part import DecoderPart
from tasks.training.devices import Group
from tasks.training.engine import Training
from tasks.training.settings import DecoderSettings, TemporalSettings
from tasks.training.temporal_part import TemporalPart
from tests.training_dataset import write_training_dataset
from vidrd_model import VidRDPipeline

STEPS = 7
SAMPLING = SamplingSettings(num_inference_steps=2, prompt_frames=4)


class Told:
    """Keeps what a training says; can end it after so many steps, as a power cut would."""

    def __init__(self, ends_after: int | None = None) -> None:
        self.begun: list[int] = []
        self.points: list[tuple[int, dict[str, float]]] = []
        self.videos: dict[tuple[int, str], bytes] = {}
        self._ends_after = ends_after

    def started(self, step: int) -> None:
        self.begun.append(step)

    def figures(self, points) -> None:
        self.points += points
        if self._ends_after is not None and self.points[-1][0] + 1 >= self._ends_after:
            raise KeyboardInterrupt

    def video(self, step: int, name: str, mp4: bytes) -> None:
        self.videos[step, name] = mp4


def settings(**changes) -> TemporalSettings:
    fixed = {"steps": STEPS, "batch_size": 4, "num_workers": 1, "threads": 1, "warmup_steps": 3, "lr": 1e-3}
    quick = {"heldout_samples": 4, "log_every": 1, "checkpoint_every": 5, "ema_decay": 0.9}
    return TemporalSettings(**(fixed | quick | changes))


def training(dataset: Path, model: Path, **changes) -> Training:
    chosen = settings(**changes)
    return Training(TemporalPart(str(dataset), str(model), chosen, SAMPLING), chosen, Group())


def run(dataset: Path, model: Path, store: Path, told: Told | None = None, **changes) -> Training:
    done = training(dataset, model, **changes)
    done.run(CheckpointStore(str(store), "config", 2), told or Told())
    return done


@pytest.fixture(scope="module")
def undisturbed(training_clips, small_model, tmp_path_factory) -> Training:
    return run(training_clips, small_model, tmp_path_factory.mktemp("store") / "s")


def test_a_training_that_was_cut_off_ends_as_if_it_had_not_been(
    training_clips, small_model, undisturbed, tmp_path
):
    told = Told(ends_after=6)
    with pytest.raises(KeyboardInterrupt):
        run(training_clips, small_model, tmp_path / "s", told)
    assert told.begun == [0]
    again = Told()
    resumed = run(training_clips, small_model, tmp_path / "s", again)
    assert again.begun == [5] and [step for step, _ in again.points] == list(range(STEPS))
    assert resumed.progress.curves == undisturbed.progress.curves
    assert resumed.progress.heldout == undisturbed.progress.heldout
    for name, weight in undisturbed.ema.weights.items():
        assert torch.equal(weight, resumed.ema.weights[name])
        assert torch.equal(undisturbed.trained[name], resumed.trained[name])


def test_figures_that_a_crash_kept_back_come_with_the_checkpoint(training_clips, small_model, tmp_path):
    """Steps 3 and 4 are in the checkpoint of step 5, and the process ends before they are told."""

    class Cut(Told):
        def figures(self, points) -> None:
            if points[-1][0] >= 5:
                raise KeyboardInterrupt
            super().figures(points)

    first, again = Cut(), Told()
    with pytest.raises(KeyboardInterrupt):
        run(training_clips, small_model, tmp_path / "s", first, log_every=3)
    assert [step for step, _ in first.points] == [0, 1, 2]
    run(training_clips, small_model, tmp_path / "s", again, log_every=3)
    assert again.begun == [5] and [step for step, _ in again.points] == list(range(STEPS))
    assert again.points[:3] == first.points  # with what is told only now and then
    assert "steps_per_s" in again.points[2][1] and all("loss" in figures for _, figures in again.points)


def test_one_that_is_finished_only_tells_what_it_has(training_clips, small_model, tmp_path):
    first, again = Told(), Told()
    done = run(training_clips, small_model, tmp_path / "s", first, steps=2)
    assert run(training_clips, small_model, tmp_path / "s", again, steps=2).progress == done.progress
    assert again.begun == [2] and again.points == first.points


def test_micro_batches_add_up_to_the_batch(training_clips, small_model, undisturbed, tmp_path):
    parted = run(training_clips, small_model, tmp_path / "s", micro_batch=1)
    assert parted.progress.curves["loss"] == pytest.approx(undisturbed.progress.curves["loss"], abs=1e-5)
    assert parted.progress.curves["gradient_norm"] == pytest.approx(
        undisturbed.progress.curves["gradient_norm"], rel=1e-3
    )


def test_frozen_weights_stay_bit_for_bit_and_the_average_follows_the_trained(
    training_clips, small_model, undisturbed
):
    before = training(training_clips, small_model)
    for name, parameter in before.part.model.named_parameters():
        after = dict(undisturbed.part.model.named_parameters())[name]
        assert torch.equal(parameter, after) is (name not in undisturbed.trained), name
    moved = {name: (p - before.trained[name]).norm() for name, p in undisturbed.trained.items()}
    behind = {name: (p - undisturbed.ema.weights[name]).norm() for name, p in undisturbed.trained.items()}
    assert all(0 < behind[name] < moved[name] for name in moved if moved[name] > 1e-6)
    assert undisturbed.progress.heldout["candidate"] != undisturbed.progress.heldout["base"]


def test_what_the_settings_ask_for_is_told(training_clips, small_model, tmp_path):
    told = Told()
    done = run(
        training_clips,
        small_model,
        tmp_path / "s",
        told,
        steps=4,
        log_every=2,
        validate_every=2,
        sample_every=2,
    )
    figures = dict(told.points)
    assert [step for step, _ in told.points] == [0, 1, 2, 3]
    assert all({"loss", "lr", "gradient_norm"} <= figures[step].keys() for step in range(4))
    for step in (1, 3):
        assert figures[step]["steps_per_s"] > 0 and 0 <= figures[step]["data_wait"] < 1
        assert 0.1 < figures[step]["memory_gib"] < 100
    assert math.isfinite(figures[1]["heldout.loss"]) and "heldout.loss" not in figures[3]
    names = {name for _, name in told.videos}
    assert len(names) == 2 and all("moving" in name for name in names)
    assert set(told.videos) == {(step, name) for step in (0, 2, 4) for name in names}
    assert all(told.videos[0, name] != told.videos[4, name] for name in names)
    assert [figures[step]["loss"] for step in range(4)] == done.progress.curves["loss"]


@pytest.mark.parametrize(
    "changes",
    [
        {"snr_gamma": 0.5},
        {"offset_noise": 0.3},
        {"noise_alpha": 1.0},
        {"caption_dropout": 1.0},
        {"seed": 1},
        {"mix": {"images": 1.0, "short-videos": 1.0}},
    ],
    ids=str,
)
def test_every_setting_of_the_loss_changes_it(training_clips, small_model, undisturbed, tmp_path, changes):
    losses = run(
        training_clips, small_model, tmp_path / "s", steps=2, heldout_samples=1, **changes
    ).progress.curves["loss"]
    assert all(math.isfinite(loss) for loss in losses)
    assert losses != undisturbed.progress.curves["loss"][:2]


@pytest.mark.slow
@pytest.mark.gate
def test_half_of_the_precision_is_nearly_the_same(training_clips, small_model, undisturbed, tmp_path):
    half = run(training_clips, small_model, tmp_path / "s", precision="bfloat16")
    assert half.progress.curves["loss"] == pytest.approx(undisturbed.progress.curves["loss"], rel=0.02)
    assert all(p.dtype == torch.float32 for p in half.trained.values())


def test_checkpointing_changes_nothing(training_clips, small_model, undisturbed, tmp_path):
    saving = run(training_clips, small_model, tmp_path / "s", gradient_checkpointing=True, steps=STEPS)
    assert saving.progress.curves["loss"] == pytest.approx(undisturbed.progress.curves["loss"], abs=1e-5)


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory, tiny_profile) -> Path:
    """A dataset in which one clip's latents are not finite, as a fault on a disk or in an encoder leaves them."""
    folder = tmp_path_factory.mktemp("poisoned") / "d"
    return write_training_dataset(folder, Path(tiny_profile.model), 12, 8, 0, broken=["clip-0003"])


def test_a_step_that_is_not_finite_is_left_out_and_the_training_goes_on(poisoned, small_model, tmp_path):
    done = run(poisoned, small_model, tmp_path / "s", batch_size=2, steps=6)
    (skipped,) = done.progress.skipped  # an epoch: the clip comes once
    assert done.progress.step == 6
    assert (skipped["not_finite"], skipped["clips"]) == ("loss", ["clip-0003"])
    losses = done.progress.curves["loss"]
    assert [math.isfinite(loss) for loss in losses] == [step != skipped["step"] for step in range(6)]
    assert all(weight.isfinite().all() for weight in done.trained.values())


def test_too_many_of_them_end_it_and_name_the_clips(poisoned, small_model, tmp_path):
    with pytest.raises(RequestError, match=r"loss was not finite in 2 steps in a row.*\(clips clip-0003\)"):
        run(poisoned, small_model, tmp_path / "s", batch_size=12, max_bad_steps=2)


def test_a_training_of_which_no_step_counted_has_no_result(poisoned, small_model, tmp_path):
    with pytest.raises(RequestError, match=r"not finite in 2 steps in a row"):
        run(poisoned, small_model, tmp_path / "s", batch_size=12, steps=2, max_bad_steps=10)


def test_a_gradient_that_is_not_finite_is_no_fault_of_the_clips(training_clips, small_model, tmp_path):
    """A learning rate that is far too high: every loss is finite, what is derived from it is not."""
    changes = {"lr": 1e6, "warmup_steps": 0, "steps": 60, "max_bad_steps": 3}
    with pytest.raises(RequestError) as caught:
        run(training_clips, small_model, tmp_path / "s", **changes)
    assert "the gradient was not finite in 3 steps in a row" in str(caught.value), caught.value
    assert "lower lr (it is 1e+06)" in str(caught.value)
    assert "clip-" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_result_whose_heldout_figures_are_not_finite_is_none(training_clips, small_model, tmp_path):
    with pytest.raises(RequestError, match=r"held-out figures \(loss\) of the trained model are not finite"):
        run(training_clips, small_model, tmp_path / "s", lr=1e30, warmup_steps=0, steps=1)


def test_a_model_that_is_broken_already_is_not_trained(training_clips, small_model, tmp_path):
    pipe = VidRDPipeline.from_pretrained(small_model)
    with torch.no_grad():
        pipe.unet.conv_in.weight[0] = torch.nan
    pipe.save_pretrained(tmp_path / "broken")
    told = Told()
    with pytest.raises(RequestError, match=r"held-out figures \(loss\) of the model .* are not finite"):
        run(training_clips, tmp_path / "broken", tmp_path / "s", told)
    assert not told.points


def test_the_figures_after_a_skipped_step_are_of_one_batch(training_clips, tiny_profile):
    chosen = DecoderSettings(steps=4, batch_size=2, num_workers=1, threads=1, heldout_samples=1)
    going = Training(DecoderPart(str(training_clips), tiny_profile.model, chosen), chosen, Group())
    (good,) = next(iter(going.steps(0)))
    bad = replace(good, latents_bcnhw=torch.full_like(good.latents_bcnhw, torch.nan))
    for batch in (bad, good, good):
        going.step(going.part.model, [batch])
    progress = going.progress
    assert [step["step"] for step in progress.skipped] == [0]
    for step in (1, 2):
        parts = progress.figures["l1"][step] + progress.figures["temporal_l1"][step]
        assert parts == pytest.approx(progress.curves["loss"][step], rel=1e-5)
    assert not math.isfinite(progress.figures["l1"][0])


def test_stored_text_states_are_asked_for_where_there_are_none(training_clips, small_model):
    with pytest.raises(RequestError, match="text_states"):
        training(training_clips, small_model, text_states="stored")


def test_the_state_in_a_checkpoint_does_not_change_while_it_is_written(training_clips, small_model, tmp_path):
    going = training(training_clips, small_model)
    batches = iter(going.steps(0))
    going.step(going.part.model, next(batches))
    taken = snapshot(going.trained, going.ema, going.optimizer, going.part.state(), going.group)
    before = copy.deepcopy(taken)
    going.step(going.part.model, next(batches))
    for name, weight in before["trained"].items():
        assert torch.equal(weight, taken["trained"][name])
    for number, state in before["optimizer"]["state"].items():
        assert all(
            torch.equal(value, taken["optimizer"]["state"][number][key]) for key, value in state.items()
        )
