"""What a training hands back, and how its weights become a model folder."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Self

from storage.json_files import write_json
from tasks.training.splits import ClipSplit

if TYPE_CHECKING:
    import torch

    from tasks.training.run import Outcome

RESULT_FILE = "result.json"


@dataclass(frozen=True)
class TrainingResult:
    """A finished training.

    `curves` has one value per step of `loss`, `lr` and `gradient_norm`; `heldout` maps `fresh` (fresh
    temporal layers), `base` (the weights at the start) and `candidate` (the result) to their figures, `loss`
    among them; `skipped` are the steps whose loss was not finite, `notes`
    lines that a user has to read.
    """

    folder: Path
    steps: int
    seconds: float
    curves: dict[str, list[float]]
    heldout: dict[str, dict[str, float]]
    skipped: list[int]
    notes: list[str]
    heldout_source: str
    train_clips: int
    heldout_clips: int
    trained_parameters: int

    @classmethod
    def from_outcome(cls, outcome: Outcome, folder: Path, split: ClipSplit) -> Self:
        """The result of a run on Ray that was written to `folder`."""
        return cls(
            folder=folder,
            steps=outcome.progress["step"],
            seconds=round(outcome.seconds, 2),
            curves=outcome.progress["curves"],
            heldout=outcome.progress["heldout"],
            skipped=outcome.progress["skipped"],
            notes=outcome.progress["notes"],
            heldout_source=split.heldout_source,
            train_clips=len(split.train),
            heldout_clips=len(split.heldout),
            trained_parameters=sum(weight.numel() for weight in outcome.weights.values()),
        )

    @classmethod
    def read(cls, work_dir: Path) -> Self | None:
        """What an earlier call has finished in a work folder, or None."""
        path = work_dir / RESULT_FILE
        if not path.is_file():
            return None
        values = json.loads(path.read_text(encoding="utf-8"))
        return replace(cls(**values), folder=Path(values["folder"]))

    def write(self, work_dir: Path) -> None:
        """Say that it is finished, for a call that comes after a crash."""
        write_json(work_dir / RESULT_FILE, asdict(self) | {"folder": str(self.folder)})

    def summary(self) -> dict[str, Any]:
        """Plain JSON without the curves; `first_loss` and `last_loss` are means over a tenth of the steps."""
        figures = {name: value for name, value in asdict(self).items() if name not in ("curves", "folder")}
        losses = [loss for loss in self.curves["loss"] if math.isfinite(loss)]
        count = max(1, len(losses) // 10)
        return figures | {"first_loss": fmean(losses[:count]), "last_loss": fmean(losses[-count:])}


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
    for folder in (partial, out_dir):  # of a call that was cut off
        shutil.rmtree(folder, ignore_errors=True)
    pipe.save_pretrained(partial)
    partial.rename(out_dir)
