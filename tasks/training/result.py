"""What a finished training hands back: where its model lies, its figures, and whether it came out better."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Self

from storage.local.json_files import write_json
from tasks.training.progress import Points, SkippedStep, points
from tasks.training.run import Outcome
from tasks.training.splits import ClipSplit, UnusableClips

RESULT_FILE = "result.json"


@dataclass(frozen=True)
class TrainingResult:
    """A finished training.

    `curves` has one value per step of `loss`, `lr` and `gradient_norm`, `figures` all others by step; None is a value
    that was not finite. `heldout` maps `fresh` (fresh temporal layers), `base` (the weights at the start) and
    `candidate` (the result) to their figures, `loss` among them. `skipped` are the steps that changed nothing,
    `left_out` the clips that were never used, `notes` lines that a user has to read. `kept` says whether the model in
    `folder` has what was trained; else it is the one that the training began with.
    """

    folder: Path
    steps: int
    seconds: float
    curves: dict[str, list[float | None]]
    heldout: dict[str, dict[str, float]]
    skipped: list[SkippedStep]
    notes: list[str]
    heldout_source: str
    train_clips: int
    heldout_clips: int
    trained_parameters: int
    left_out: list[str] = field(default_factory=list)
    figures: dict[str, dict[int, float | None]] = field(default_factory=dict)
    kept: bool = True

    @classmethod
    def from_outcome(
        cls, outcome: Outcome, folder: Path, split: ClipSplit, left_out: UnusableClips, kept: bool = True
    ) -> Self:
        """Returns the result of a run on Ray; `folder` has the model with what was trained, or, not `kept`, without."""
        progress = outcome.progress
        return cls(
            folder=folder,
            steps=progress.step,
            seconds=round(outcome.seconds, 2),
            curves={name: [_finite(value) for value in values] for name, values in progress.curves.items()},
            figures={
                name: {step: _finite(value) for step, value in by_step.items()}
                for name, by_step in progress.figures.items()
            },
            heldout=progress.heldout,
            skipped=progress.skipped,
            notes=progress.notes if left_out.note is None else [left_out.note, *progress.notes],
            left_out=left_out.clip_ids,
            kept=kept,
            heldout_source=split.heldout_source,
            train_clips=len(split.train),
            heldout_clips=len(split.heldout),
            trained_parameters=sum(weight.numel() for weight in outcome.weights.values()),
        )

    @classmethod
    def read(cls, work_dir: Path) -> Self | None:
        """Returns what an earlier call has finished in a work folder, or None."""
        path = work_dir / RESULT_FILE
        if not path.is_file():
            return None
        values = json.loads(path.read_text(encoding="utf-8"))
        figures = {
            name: {int(step): value for step, value in by_step.items()}  # JSON has no other names than texts
            for name, by_step in values.pop("figures", {}).items()
        }
        return replace(cls(**values), folder=Path(values["folder"]), figures=figures)

    @property
    def outcome(self) -> str:
        """One line: the held-out loss before and after, and whether that is better."""
        return heldout_outcome(self.heldout)

    def write(self, work_dir: Path) -> None:
        """Says that it is finished, for a call that comes after a crash."""
        write_json(work_dir / RESULT_FILE, asdict(self) | {"folder": str(self.folder)})

    def points(self) -> Points:
        """Returns all figures of all steps; NaN where they were not finite."""

        def number(value: float | None) -> float:
            return math.nan if value is None else value

        curves = {name: [number(value) for value in values] for name, values in self.curves.items()}
        figures = {
            name: {step: number(value) for step, value in by_step.items()}
            for name, by_step in self.figures.items()
        }
        return points(curves, figures, range(self.steps))

    def summary(self) -> dict[str, Any]:
        """Returns plain JSON without the curves; `first_loss` and `last_loss` are means over a tenth of the steps."""
        left = {
            name: value for name, value in asdict(self).items() if name not in ("curves", "figures", "folder")
        }
        losses = [loss for loss in self.curves["loss"] if loss is not None]
        count = max(1, len(losses) // 10)
        return left | {"first_loss": fmean(losses[:count]), "last_loss": fmean(losses[-count:])}


def is_improved(heldout: Mapping[str, Mapping[str, float]]) -> bool:
    """Says whether the held-out loss is lower than that of the weights at the start."""
    return heldout["candidate"]["loss"] < heldout["base"]["loss"]


def heldout_outcome(heldout: Mapping[str, Mapping[str, float]]) -> str:
    """Says in one line the held-out loss before and after a training, and how much better or worse that is."""
    before, after = heldout["base"]["loss"], heldout["candidate"]["loss"]
    change = f"{100 * abs(after - before) / before:.2g} %" if before else "not comparable"
    how = "better" if is_improved(heldout) else "worse" if after > before else "no better"
    return f"held-out loss {after:.5g} after the training, {before:.5g} before: {how} ({change})"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
