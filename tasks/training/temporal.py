"""Training of the UNet on latents and captions, started on Ray.

torch and Ray are imported where they are used: Ray has to be set up before anything imports it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from storage.dataset import ClipDataset
from tasks.progress import OnProgress
from tasks.training.data import split_clips
from tasks.training.result import TrainingResult, check_new_folder, save_trained
from tasks.training.run import run_training
from tasks.training.settings import TemporalSettings


def train_temporal(
    dataset_ref: str,
    base_model_dir: str | Path,
    out_dir: Path,
    settings: TemporalSettings,
    on_progress: OnProgress | None = None,
) -> TrainingResult:
    """Fine-tune the UNet of a model folder on a dataset, `DIR[@TAG]`, and write the whole model to `out_dir`.

    Raises RequestError when the dataset has too few clips or Ray too few processors.
    """
    check_new_folder(out_dir)
    split = split_clips(ClipDataset.open(dataset_ref))
    config = {"dataset": str(dataset_ref), "model": str(base_model_dir), "settings": settings.model_dump()}
    outcome = run_training(_worker, config, settings, out_dir.parent, "temporal", on_progress)
    save_trained(base_model_dir, out_dir, "unet", outcome.weights)
    return TrainingResult.from_outcome(outcome, out_dir, split)


def _worker(config: dict[str, Any]) -> None:
    from tasks.training.engine import train
    from tasks.training.temporal_trainee import TemporalTrainee

    settings = TemporalSettings(**config["settings"])
    train(TemporalTrainee(config["dataset"], config["model"], settings), settings)
