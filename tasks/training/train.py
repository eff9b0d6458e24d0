"""Training of the UNet on latents and captions, started on Ray.

torch and Ray are imported where they are used: Ray has to be set up before anything imports it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage.dataset.clip_dataset import ClipDataset
from tasks.progress import OnProgress
from tasks.training.result import TrainingResult, save_trained
from tasks.training.run import checkpoint_store, run_training
from tasks.training.settings import TemporalSettings
from tasks.training.splits import split_clips
from tasks.training.unusable import unusable_clips

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
    dataset = ClipDataset.open(dataset_ref)
    left_out = unusable_clips(dataset, text_states=settings.text_states == "stored")
    split = split_clips(dataset, left_out=left_out.rows)
    config = temporal_config(dataset_ref, base_model_dir, settings, sampling, left_out.rows)
    if on_progress is not None and left_out.note is not None:
        on_progress(0, settings.steps, left_out.note)
    outcome = run_training(config, settings, work_dir, watcher, on_progress)
    save_trained(base_model_dir, work_dir / "model", "unet", outcome.weights)
    result = TrainingResult.from_outcome(outcome, work_dir / "model", split, left_out)
    result.write(work_dir)
    checkpoint_store(config, settings, work_dir).remove()
    return result


def temporal_config(
    dataset_ref: str,
    base_model_dir: str | Path,
    settings: TemporalSettings,
    sampling: SamplingSettings,
    left_out: Sequence[int] = (),
) -> dict[str, Any]:
    """What a worker is told; `left_out` are the rows of `unusable_clips`."""
    told = {
        "part": "temporal",
        "dataset": str(dataset_ref),
        "model": str(base_model_dir),
        "settings": settings.model_dump(),
        "sampling": sampling.model_dump(),
    }
    # Named only where there are some: a training that was begun before this was known still fits its checkpoints.
    return told | ({"left_out": list(left_out)} if left_out else {})
