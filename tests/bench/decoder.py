"""What 300 steps of the decoder's training gain on the tiny world, over three seeds, and what the loss is made of.

The engine in this process, with the settings of the profile tiny but for `CHANGES`; half an hour on a core:
`python -m tests.bench.decoder`.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from statistics import fmean, stdev

import torch
import torch.nn.functional as F

from flows.profile import load_profile
from tasks.training.checkpoints import CheckpointStore
from tasks.training.decoder_part import DecoderPart
from tasks.training.devices import Group
from tasks.training.engine import Training
from tests.bench.tables import print_head, print_row
from tests.bench.training import Listener
from tests.training_dataset import write_training_dataset

CHANGES = {"steps": 300, "batch_size": 1, "lr": 2e-3, "warmup_steps": 10, "num_workers": 1, "threads": 1}
SEEDS = (0, 1, 2)
STUDENT_T = 4.303  # for 95 % of a mean over three
TRAIN, HELDOUT = 640, 64
FIGURES = ("loss", "l1", "temporal_l1")
GROUND_IS_WITHIN, GROUND_IS_AWAY_PX = 0.06, 4


def main() -> None:
    """Prints what the held-out loss is made of before the training, then a row per seed."""
    torch.set_num_threads(1)
    profile = load_profile("tiny")
    gains: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory(prefix="vidrd-bench-") as folder:
        dataset = str(write_training_dataset(Path(folder, "d"), Path(profile.model), TRAIN, HELDOUT, 0))
        for seed in SEEDS:
            changes = CHANGES | {"seed": seed, "heldout_samples": HELDOUT}
            settings = profile.decoder.model_copy(update=changes)
            decoder = DecoderPart(dataset, profile.model, settings)
            training = Training(decoder, settings, Group())
            if not gains:
                _print_loss(decoder)
                print()
                print_head("seed", "loss", "L1", "L1 of the changes")
            training.run(CheckpointStore(str(Path(folder, str(seed))), "bench", 1), Listener())
            heldout = training.progress.heldout
            gains.append(
                {name: 100 * (heldout["candidate"][name] / heldout["base"][name] - 1) for name in FIGURES}
            )
            print_row(seed, *(f"{gains[-1][name]:+.2f} %" for name in FIGURES))
    print_row("mean", *(_mean([gain[name] for gain in gains]) for name in FIGURES))


def _mean(values: list[float]) -> str:
    return f"{fmean(values):+.2f} % ± {STUDENT_T * stdev(values) / math.sqrt(len(values)):.2f}"


@torch.no_grad()
def _print_loss(part: DecoderPart) -> None:
    """Prints how the held-out loss is shared out: a row each for the pictures and their changes."""
    part.model.eval()
    pictures, changes = torch.zeros(3), torch.zeros(3)
    for clip in part._heldout_clips:
        (batch,) = part.reader.read([[clip]])
        decoded_nchw, true_nchw = (clips[0] for clips in part._decode(part.model, batch))
        errors_nchw, ground_n1hw = decoded_nchw - true_nchw, _ground(true_nchw)
        still_nchw = errors_nchw - errors_nchw.median(dim=0, keepdim=True).values
        pictures += _shares(errors_nchw, ground_n1hw, still_nchw)
        moved_nchw = errors_nchw.diff(dim=0)
        changes += _shares(moved_nchw, ground_n1hw[1:] & ground_n1hw[:-1], moved_nchw)
    loss = pictures[0] + changes[0]
    print_head("share of the held-out loss", "all", "on plain ground", "without errors that stand still")
    for name, row in (("L1", pictures), ("L1 of the changes", changes)):
        print_row(name, *(f"{100 * share:.0f} %" for share in row / loss))


def _shares(errors: torch.Tensor, ground: torch.Tensor, moving: torch.Tensor) -> torch.Tensor:
    return torch.stack([errors.abs().mean(), (errors.abs() * ground).mean(), moving.abs().mean()])


def _ground(true_nchw: torch.Tensor) -> torch.Tensor:
    """Where the colour is the corner's and the shape is not near, bool (n, 1, h, w)."""
    shape_n1hw = (true_nchw - true_nchw[..., :1, :1]).abs().amax(1, keepdim=True) > GROUND_IS_WITHIN
    side = 2 * GROUND_IS_AWAY_PX + 1
    return F.max_pool2d(shape_n1hw.float(), side, stride=1, padding=GROUND_IS_AWAY_PX) == 0


if __name__ == "__main__":
    from tests.bench.__main__ import section

    section("decoder")
