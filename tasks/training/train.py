"""One training, from a dataset and a model folder to a trained model folder: `train_part`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from storage.dataset.clip_dataset import ClipDataset
from tasks.progress import OnProgress
from tasks.training.base_model import save_trained
from tasks.training.job import TrainingJob
from tasks.training.result import TrainingResult, is_improved
from tasks.training.run import checkpoint_store, run_training
from tasks.training.settings import TemporalSettings
from tasks.training.splits import split_clips, unusable_clips
from tasks.training.trained_lora import save_trained_lora
from tasks.training.watcher import TrainingWatcher


def train_part(
    job: TrainingJob,
    work_dir: Path,
    watcher: TrainingWatcher | None = None,
    on_progress: OnProgress | None = None,
) -> TrainingResult:
    """Fine-tunes the UNet or the decoder of a model on a dataset, and writes the whole model to `work_dir/model`.

    A decoder whose held-out loss is no lower than before is not kept: the result then names the model that it began
    with. Clips whose stored numbers are not finite are left out. Called again on the same work folder it goes on where
    it was cut off. Raises RequestError when the dataset has too few clips for the part, Ray too few processors, or the
    training cannot go on.
    """
    finished = TrainingResult.read(work_dir)
    if finished is not None:
        return finished
    dataset = ClipDataset.open(job.dataset)
    unusable = unusable_clips(dataset, text_states=job.reads_text_states)
    split = split_clips(dataset, videos_only=job.part == "decoder", left_out=unusable.rows)
    if on_progress is not None and unusable.note is not None:
        on_progress(0, job.settings.steps, unusable.note)
    job = replace(job, left_out=tuple(unusable.rows))
    outcome = run_training(job, work_dir, watcher, on_progress)
    kept = job.part == "temporal" or is_improved(outcome.progress.heldout)
    folder = work_dir / "model" if kept else Path(job.model)
    if kept:
        _save(job, folder, outcome.weights, dataset)
    result = TrainingResult.from_outcome(outcome, folder, split, unusable, kept)
    result.write(work_dir)
    checkpoint_store(job, work_dir).remove()
    return result


def _save(job: TrainingJob, folder: Path, weights: dict[str, torch.Tensor], dataset: ClipDataset) -> None:
    settings = job.settings
    if isinstance(settings, TemporalSettings):
        if settings.trainable == "lora":
            save_trained_lora(job.model, folder, settings, weights)
        else:
            save_trained(job.model, folder, "unet", weights)
        return
    weights = {name.removeprefix("vae."): weight for name, weight in weights.items()}
    save_trained(job.model, folder, "vae", weights, decode_window=dataset.latent_shape[0])
