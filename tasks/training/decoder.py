"""Training of the decoder's temporal layers on real clips, started on Ray; the rest of the VAE is frozen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from storage.dataset import ClipDataset
from tasks.progress import OnProgress
from tasks.training.data import split_clips
from tasks.training.result import TrainingResult, check_new_folder, save_trained
from tasks.training.run import run_training
from tasks.training.settings import DecoderSettings


def train_decoder(
    dataset_ref: str,
    base_model_dir: str | Path,
    out_dir: Path,
    settings: DecoderSettings,
    on_progress: OnProgress | None = None,
) -> TrainingResult:
    """Fine-tune the temporal decoder of a model folder on the videos of a dataset, `DIR[@TAG]`.

    Writes the whole model to `out_dir`; on single frames it decodes exactly what the base model does. Raises
    RequestError when the dataset keeps too few videos or Ray too few processors.
    """
    check_new_folder(out_dir)
    dataset = ClipDataset.open(dataset_ref)
    split = split_clips(dataset, videos_only=True)
    config = {"dataset": str(dataset_ref), "model": str(base_model_dir), "settings": settings.model_dump()}
    outcome = run_training(_worker, config, settings, out_dir.parent, "decoder", on_progress)
    weights = {name.removeprefix("vae."): weight for name, weight in outcome.weights.items()}
    save_trained(base_model_dir, out_dir, "vae", weights, decode_window=dataset.latent_shape[0])
    return TrainingResult.from_outcome(outcome, out_dir, split)


def _worker(config: dict[str, Any]) -> None:
    from tasks.training.decoder_trainee import DecoderTrainee
    from tasks.training.engine import train

    settings = DecoderSettings(**config["settings"])
    train(DecoderTrainee(config["dataset"], config["model"], settings), settings)
