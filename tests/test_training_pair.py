"""What two workers train together is what one trains alone, whoever starts them."""

from pathlib import Path

import pytest
import torch

from tasks.training.settings import TemporalSettings
from tests.training_pair import train_alone, train_in_pair

SETTINGS = {
    "steps": 6,
    "batch_size": 4,
    "threads": 1,
    "warmup_steps": 2,
    "lr": 1e-3,
    "heldout_samples": 4,
    "log_every": 1,
    "checkpoint_every": 3,
    "ema_decay": 0.9,
}


def test_two_processes_train_what_one_does(training_clips: Path, small_model: Path, tmp_path: Path) -> None:
    """Batches, losses, gradients, averages and held-out figures; a pair that was cut off goes on as one or as two."""
    alone = train_alone(
        training_clips, small_model, tmp_path / "1", TemporalSettings(**SETTINGS, num_workers=1)
    )
    settings = TemporalSettings(**SETTINGS, num_workers=2)
    both = train_in_pair(training_clips, small_model, tmp_path / "2", settings)
    for name in ("loss", "gradient_norm"):
        losses = alone.progress.curves[name]
        assert len(losses) == 6 and both.progress.curves[name] == pytest.approx(losses, abs=1e-4), name
    heldout = alone.progress.heldout["candidate"]["loss"]
    assert both.progress.heldout["candidate"]["loss"] == pytest.approx(heldout, abs=1e-4)
    assert alone.ema.weights.keys() == both.ema.weights.keys()
    for name, weight in alone.ema.weights.items():
        torch.testing.assert_close(both.ema.weights[name], weight, atol=1e-3, rtol=1e-2, msg=name)
