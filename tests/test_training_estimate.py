"""Attacks the plan of a training: counts by hand, memory that is really there, and requests that cannot be planned."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli.app import app
from tasks.errors import RequestError
from tasks.generation.settings import SamplingSettings
from tasks.training.estimate import estimate_training
from tasks.training.job import TrainingJob
from tasks.training.settings import TemporalSettings
from vidrd_model import VidRDPipeline

pytestmark = [pytest.mark.slow, pytest.mark.gate]  # a worker of Ray computes some steps


def job(dataset: Path, model: Path, **changes) -> TrainingJob:
    fixed = {"steps": 100, "batch_size": 8, "num_workers": 2, "threads": 1, "heldout_samples": 4}
    return TrainingJob(str(dataset), str(model), TemporalSettings(**(fixed | changes)), SamplingSettings())


def test_a_plan_counts_what_a_training_holds(training_clips, small_model, ray_session):
    estimate = estimate_training(job(training_clips, small_model))
    pipe = VidRDPipeline.from_pretrained(small_model)
    trained = sum(p.numel() for name, p in pipe.unet.named_parameters() if "temp_" in name)
    both = sum(p.numel() for part in (pipe.unet, pipe.text_encoder) for p in part.parameters())
    assert (estimate.trained_parameters, estimate.frozen_parameters) == (trained, both - trained)
    assert (estimate.weights_bytes, estimate.gradients_bytes, estimate.average_bytes) == (
        4 * both,
        4 * trained,
        4 * trained,
    )
    assert estimate.optimizer_bytes == pytest.approx(8 * trained, rel=0.01)
    assert 10e6 < estimate.activations_bytes < 2e9 < estimate.capacity_bytes  # type: ignore[operator]
    assert estimate.train_clips == 13 and estimate.steps_per_epoch == pytest.approx(13 / 8)
    assert estimate.seconds == pytest.approx(100 * estimate.seconds_per_step)  # type: ignore[operator]
    assert estimate.problem is None


def test_a_smaller_share_takes_less_memory(training_clips, small_model, ray_session):
    whole, parted = (
        estimate_training(job(training_clips, small_model, num_workers=1, micro_batch=n)) for n in (8, 1)
    )
    assert parted.activations_bytes < 0.5 * whole.activations_bytes  # type: ignore[operator]
    assert parted.weights_bytes == whole.weights_bytes


def test_what_cannot_be_trained_cannot_be_planned(training_clips, small_model, ray_session):
    with pytest.raises(RequestError, match="no clips of long-videos") as caught:
        estimate_training(job(training_clips, small_model, mix={"long-videos": 1}))
    assert "\n" not in str(caught.value)


def test_the_command_prints_a_table_and_leaves_nothing(training_clips, tmp_home, ray_session):
    done = CliRunner().invoke(
        app, ["retrain", "--dataset", str(training_clips), "--part", "decoder", "--plan"]
    )
    assert done.exit_code == 0, done.output
    head, *body = (line for line in done.output.splitlines() if line.startswith("| "))
    assert [cell.strip() for cell in head.strip("|").split("|")] == ["", "decoder"]
    rows = dict(line.strip("| ").split(" | ") for line in body)
    assert rows["device"] == "CPU" and rows["steps per epoch"] == "6.0"
    assert {"trained parameters", "memory: weights", "seconds per step", "time of all steps"} <= rows.keys()
    assert not (tmp_home / "training").exists()
