"""Training of the decoder's temporal layers on real clips, started on Ray; the rest of the VAE is frozen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage.dataset.clip_dataset import ClipDataset
from tasks.progress import OnProgress
from tasks.training.result import TrainingResult, is_improved, save_trained
from tasks.training.run import checkpoint_store, run_training
from tasks.training.settings import DecoderSettings
from tasks.training.splits import split_clips
from tasks.training.unusable import unusable_clips

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

    Writes the whole model to `work_dir/model`; on single frames it decodes exactly what the base model does. A decoder
    whose held-out loss is no lower than before is not kept: the result then names the base model. Called again on the
    same work folder it goes on where it was cut off. Raises RequestError when the dataset keeps too few videos, Ray has
    too few processors, or the training cannot go on.
    """
    finished = TrainingResult.read(work_dir)
    if finished is not None:
        return finished
    dataset = ClipDataset.open(dataset_ref)
    left_out = unusable_clips(dataset)
    split = split_clips(dataset, videos_only=True, left_out=left_out.rows)
    config = decoder_config(dataset_ref, base_model_dir, settings, left_out.rows)
    if on_progress is not None and left_out.note is not None:
        on_progress(0, settings.steps, left_out.note)
    outcome = run_training(config, settings, work_dir, watcher, on_progress)
    kept = is_improved(outcome.progress["heldout"])
    folder = Path(base_model_dir)
    if kept:
        folder = work_dir / "model"
        weights = {name.removeprefix("vae."): weight for name, weight in outcome.weights.items()}
        save_trained(base_model_dir, folder, "vae", weights, decode_window=dataset.latent_shape[0])
    result = TrainingResult.from_outcome(outcome, folder, split, left_out, kept)
    result.write(work_dir)
    checkpoint_store(config, settings, work_dir).remove()
    return result


def decoder_config(
    dataset_ref: str, base_model_dir: str | Path, settings: DecoderSettings, left_out: Sequence[int] = ()
) -> dict[str, Any]:
    """What a worker is told; `left_out` are the rows of `unusable_clips`."""
    told = {
        "part": "decoder",
        "dataset": str(dataset_ref),
        "model": str(base_model_dir),
        "settings": settings.model_dump(),
    }
    # Named only where there are some: a training that was begun before this was known still fits its checkpoints.
    return told | ({"left_out": list(left_out)} if left_out else {})
