"""What two workers train together is what one trains alone, whoever starts them."""

from pathlib import Path

import pytest

from tasks.training.settings import TemporalSettings
from tests.training_pair import train_alone, train_in_pair
from vidrd_model.pipeline import VidRDPipeline

SETTINGS = {
    "steps": 4,
    "batch_size": 4,
    "threads": 1,
    "warmup_steps": 2,
    "lr": 1e-3,
    "heldout_samples": 4,
    "log_every": 1,
    "checkpoint_every": 2,
    "ema_decay": 0.9,
}


@pytest.mark.slow
@pytest.mark.gate
def test_two_processes_train_what_one_does(training_clips: Path, small_model: Path, tmp_path: Path) -> None:
    """Batches, losses, gradients, averages and held-out figures; a pair that was cut off goes on as one or as two."""
    alone = train_alone(
        training_clips, small_model, tmp_path / "1", TemporalSettings(**SETTINGS, num_workers=1)
    )
    settings = TemporalSettings(**SETTINGS, num_workers=2)
    both = train_in_pair(training_clips, small_model, tmp_path / "2", settings)
    for name in ("loss", "gradient_norm"):
        losses = alone.progress.curves[name]
        assert len(losses) == 4 and both.progress.curves[name] == pytest.approx(losses, abs=1e-4), name
    heldout = alone.progress.heldout["candidate"]["loss"]
    assert both.progress.heldout["candidate"]["loss"] == pytest.approx(heldout, abs=1e-4)
    assert alone.ema.weights.keys() == both.ema.weights.keys()
    # As a whole: where a gradient is nearly zero, Adam moves a weight by its sign, which rounding decides.
    before = dict(VidRDPipeline.from_pretrained(small_model).unet.named_parameters())
    apart, moved = (
        sum(
            float((weight - others[name]).detach().square().sum())
            for name, weight in alone.ema.weights.items()
        )
        ** 0.5
        for others in (both.ema.weights, before)
    )
    assert apart < 0.02 * moved
