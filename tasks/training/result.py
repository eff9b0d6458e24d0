"""What a training hands back, and how its weights become a model folder."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Self

from tasks.errors import RequestError
from tasks.training.data import ClipSplit

if TYPE_CHECKING:
    import torch

    from tasks.training.run import Outcome


@dataclass(frozen=True)
class TrainingResult:
    """A finished training.

    `curves` has one value per step of `loss`, `lr` and `gradient_norm`; `heldout` maps `fresh` (fresh
    temporal layers), `base` (the weights at the start) and `candidate` (the result) to their figures, `loss`
    among them.
    """

    folder: Path
    run_name: str
    steps: int
    seconds: float
    curves: dict[str, list[float]]
    heldout: dict[str, dict[str, float]]
    heldout_source: str
    train_clips: int
    heldout_clips: int
    trained_parameters: int

    @classmethod
    def from_outcome(cls, outcome: Outcome, folder: Path, split: ClipSplit) -> Self:
        """The result of a run on Ray that was written to `folder`."""
        return cls(
            folder=folder,
            run_name=outcome.run_name,
            steps=outcome.metrics["step"],
            seconds=round(outcome.seconds, 2),
            curves=outcome.metrics["curves"],
            heldout=outcome.metrics["heldout"],
            heldout_source=split.heldout_source,
            train_clips=len(split.train),
            heldout_clips=len(split.heldout),
            trained_parameters=sum(weight.numel() for weight in outcome.weights.values()),
        )

    def summary(self) -> dict[str, Any]:
        """Plain JSON without the curves; `first_loss` and `last_loss` are means over a tenth of the steps."""
        figures = {name: value for name, value in asdict(self).items() if name not in ("curves", "folder")}
        losses = self.curves["loss"]
        count = max(1, len(losses) // 10)
        return figures | {"first_loss": fmean(losses[:count]), "last_loss": fmean(losses[-count:])}


def check_new_folder(out_dir: Path) -> None:
    """Raise RequestError when a model folder is already there: a training never overwrites one."""
    if out_dir.exists():
        raise RequestError(f"{out_dir}: exists already; a training writes a new model folder")


def save_trained(
    base_model_dir: str | Path, out_dir: Path, part: str, weights: Mapping[str, torch.Tensor], **settings: Any
) -> None:
    """Write the base model with trained weights and `settings` in its `part`, "unet" or "vae", as a model folder."""
    from tasks.training.base_model import load_base
    from tasks.training.ema import load_weights

    pipe = load_base(base_model_dir)
    trained = getattr(pipe, part)
    load_weights(dict(trained.named_parameters()), weights)
    trained.register_to_config(**settings)
    partial = out_dir.with_name(f".{out_dir.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    pipe.save_pretrained(partial)
    partial.rename(out_dir)
