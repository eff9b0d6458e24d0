"""Training of the UNet on latents and captions, started on Ray.

torch and Ray are imported where they are used: Ray has to be set up before anything imports it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage.dataset import ClipDataset
from tasks.progress import OnProgress
from tasks.training.result import TrainingResult, save_trained
from tasks.training.run import checkpoint_store, run_training
from tasks.training.settings import TemporalSettings
from tasks.training.splits import split_clips

if TYPE_CHECKING:
    from tasks.generation.settings import SamplingSettings
    from tasks.training.watcher import TrainingWatcher


def train_temporal(
    dataset_ref: str,
    base_model_dir: str | Path,
    work_dir: Path,
    settings: TemporalSettings,
    sampling: SamplingSettings,
    watcher: TrainingWatcher | None = None,
    on_progress: OnProgress | None = None,
) -> TrainingResult:
    """Fine-tune the UNet of a model folder on a dataset, `DIR[@TAG]`, and write the whole model to `work_dir/model`.

    Called again on the same work folder it goes on where it was cut off. Raises
    RequestError when the dataset has too few clips, Ray too few processors, or the training cannot go on.
    """
    finished = TrainingResult.read(work_dir)
    if finished is not None:
        return finished
    split = split_clips(ClipDataset.open(dataset_ref))
    config = temporal_config(dataset_ref, base_model_dir, settings, sampling)
    outcome = run_training(config, settings, work_dir, watcher, on_progress)
    save_trained(base_model_dir, work_dir / "model", "unet", outcome.weights)
    result = TrainingResult.from_outcome(outcome, work_dir / "model", split)
    result.write(work_dir)
    checkpoint_store(config, settings, work_dir).remove()
    return result


def temporal_config(
    dataset_ref: str, base_model_dir: str | Path, settings: TemporalSettings, sampling: SamplingSettings
) -> dict[str, Any]:
    """What a worker is told."""
    return {
        "part": "temporal",
        "dataset": str(dataset_ref),
        "model": str(base_model_dir),
        "settings": settings.model_dump(),
        "sampling": sampling.model_dump(),
    }
