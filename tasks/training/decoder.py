"""Training of the decoder's temporal layers on real clips, started on Ray; the rest of the VAE is frozen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage.dataset import ClipDataset
from tasks.progress import OnProgress
from tasks.training.result import TrainingResult, save_trained
from tasks.training.run import checkpoint_store, run_training
from tasks.training.settings import DecoderSettings
from tasks.training.splits import split_clips

if TYPE_CHECKING:
    from tasks.training.watcher import TrainingWatcher


def train_decoder(
    dataset_ref: str,
    base_model_dir: str | Path,
    work_dir: Path,
    settings: DecoderSettings,
    watcher: TrainingWatcher | None = None,
    on_progress: OnProgress | None = None,
) -> TrainingResult:
    """Fine-tune the temporal decoder of a model folder on the videos of a dataset, `DIR[@TAG]`.

    Writes the whole model to `work_dir/model`; on single frames it decodes exactly what the base model does. Called
    again on the same work folder it goes on where it was cut off. Raises
    RequestError when the dataset keeps too few videos, Ray has too few processors, or the training cannot go on.
    """
    finished = TrainingResult.read(work_dir)
    if finished is not None:
        return finished
    dataset = ClipDataset.open(dataset_ref)
    split = split_clips(dataset, videos_only=True)
    config = decoder_config(dataset_ref, base_model_dir, settings)
    outcome = run_training(config, settings, work_dir, watcher, on_progress)
    weights = {name.removeprefix("vae."): weight for name, weight in outcome.weights.items()}
    window = dataset.latent_shape[0]
    save_trained(base_model_dir, work_dir / "model", "vae", weights, decode_window=window)
    result = TrainingResult.from_outcome(outcome, work_dir / "model", split)
    result.write(work_dir)
    checkpoint_store(config, settings, work_dir).remove()
    return result


def decoder_config(dataset_ref: str, base_model_dir: str | Path, settings: DecoderSettings) -> dict[str, Any]:
    """What a worker is told."""
    return {
        "part": "decoder",
        "dataset": str(dataset_ref),
        "model": str(base_model_dir),
        "settings": settings.model_dump(),
    }
