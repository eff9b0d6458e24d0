"""Retraining: a dataset to a registered candidate model.

vidrd retrain --dataset runs/datasets/tiny --part both
prefect deployment run retrain/retrain
"""

from __future__ import annotations

import shutil
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from pydantic import BaseModel, ConfigDict, Field

from flows.profile import Profile, check_model_profile, load_profile
from flows.progress import stage_progress
from storage.home import home
from tasks.errors import RequestError
from tasks.training.result import TrainingResult
from tasks.training.settings import DecoderSettings, TemporalSettings, Trainable

if TYPE_CHECKING:
    from storage.dataset import ClipDataset
    from storage.runs import Run

CHAMPION_REF = "models:/vidrd@champion"


class RetrainParams(BaseModel):
    """What to train on what; as they are, the defaults fine-tune the tiny model on the tiny dataset."""

    model_config = ConfigDict(extra="forbid")

    dataset: str | None = Field(None, description="DIR or DIR@TAG; none: datasets/tiny of VIDRD_HOME")
    part: Literal["temporal", "decoder", "both"] = "both"
    trainable: Trainable | None = Field(None, description="layers of the UNet to train; none: the profile's")
    start_from: Literal["base", "champion"] = Field("base", description="the profile's model or the champion")
    temporal_steps: int | None = Field(None, ge=1, description="none: the profile's")
    decoder_steps: int | None = Field(None, ge=1, description="none: the profile's")
    profile: str = "tiny"


def check(params: RetrainParams) -> None:
    """Raises RequestError or StorageError with one line when the request cannot be carried out."""
    from storage.dataset import ClipDataset
    from tasks.training.data import split_clips

    profile = load_profile(params.profile)
    dataset = ClipDataset.open(_dataset_ref(params))
    for part in _parts(params):
        split_clips(dataset, videos_only=part == "decoder")
    model, encoder = _start(params, profile)
    others = set(dataset.clips_table(["encoder"])["encoder"].to_pylist()) - {encoder}
    if others:
        raise RequestError(
            f"dataset: {dataset.folder}@{dataset.tag} holds latents of another VAE than that of {model}; "
            "build it with the same profile"
        )


@flow(name="retrain")
def retrain(params: RetrainParams = RetrainParams()) -> dict:  # noqa: B008 (Prefect shows it as the default)
    """Trains on Ray, logs curves and held-out losses, and registers the result as `candidate`."""
    from storage.dataset import ClipDataset
    from storage.registry import CANDIDATE, MODEL_NAME, Registry, git_commit

    check(params)
    started_s = time.monotonic()
    profile = load_profile(params.profile)
    model, encoder = _start(params, profile)
    dataset = ClipDataset.open(_dataset_ref(params))
    tags = {
        "dataset": str(dataset.folder.absolute()),
        "dataset_tag": dataset.tag,
        "dataset_version": str(dataset.version),
        "start": model,
        "encoder": encoder,
        "part": params.part,
        "profile": profile.name,
    }
    # A fresh folder for every training; what stays of it in the end is the version in the registry.
    work_dir = home() / "training" / f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"
    work_dir.mkdir(parents=True)
    registry = Registry()
    results: dict[str, TrainingResult] = {}
    with registry.start_run("retrain", tags) as run:
        for part in _parts(params):
            results[part] = _train(part, params, profile, dataset, model, work_dir / part / "model", run)
            model = str(results[part].folder)
        version = registry.register(Path(model), run, {**tags, "git_commit": git_commit()})
    shutil.rmtree(work_dir)
    result = {
        "model": f"models:/{MODEL_NAME}/{version}",
        "version": version,
        "alias": CANDIDATE,
        "run_id": run.run_id,
        **tags,
        "git_commit": git_commit(),
        "parts": {part: trained.summary() for part, trained in results.items()},
        "curves": {part: list(enumerate(trained.curves["loss"])) for part, trained in results.items()},
        "seconds": round(time.monotonic() - started_s, 2),
    }
    create_markdown_artifact(_as_markdown(result), key="retrain", description="a new candidate")
    return result


def _parts(params: RetrainParams) -> list[str]:
    """The decoder comes last: its training starts from whatever the UNet's has written."""
    return ["temporal", "decoder"] if params.part == "both" else [params.part]


def _dataset_ref(params: RetrainParams) -> str:
    return params.dataset or str(home() / "datasets" / "tiny")


def _start(params: RetrainParams, profile: Profile) -> tuple[str, str]:
    """The model to start from, and the digest of the encoder whose latents it understands."""
    from storage.registry import resolve_model
    from tasks.latents.encoder import encoder_digest

    if params.start_from == "base":
        return profile.model, encoder_digest(profile.model)
    champion = resolve_model(CHAMPION_REF)
    check_model_profile(champion, profile)
    # The encoder is never trained: a model has that of the model it once started from.
    return str(champion.folder), champion.tags.get("encoder") or encoder_digest(champion.folder)


def _train(
    part: str,
    params: RetrainParams,
    profile: Profile,
    dataset: ClipDataset,
    model: str,
    out_dir: Path,
    run: Run,
) -> TrainingResult:
    """Trains one part and logs its settings, curves and held-out figures under the part's name."""
    from tasks.training.decoder import train_decoder
    from tasks.training.temporal import train_temporal

    # With the tag: a build that finishes meanwhile must not change what the workers read.
    dataset_ref = f"{dataset.folder.absolute()}@{dataset.tag}"
    out_dir.parent.mkdir()
    with stage_progress(f"retrain {part}") as on_progress:
        if part == "temporal":
            temporal = _temporal_settings(params, profile)
            run.log_params({part: temporal.model_dump()})
            result = train_temporal(dataset_ref, model, out_dir, temporal, on_progress)
        else:
            decoder = _decoder_settings(params, profile)
            run.log_params({part: decoder.model_dump()})
            result = train_decoder(dataset_ref, model, out_dir, decoder, on_progress)
    curves = {f"{part}.{name}": values for name, values in result.curves.items()}
    run.log_figures([(i, {name: curve[i] for name, curve in curves.items()}) for i in range(result.steps)])
    for whose, figures in result.heldout.items():
        run.log_figures([(0, {f"{part}.heldout.{name}.{whose}": v for name, v in figures.items()})])
    run.set_tags({f"{part}.heldout_source": result.heldout_source})
    return result


def _temporal_settings(params: RetrainParams, profile: Profile) -> TemporalSettings:
    asked = {"trainable": params.trainable, "steps": params.temporal_steps}
    return profile.temporal.model_copy(update={k: v for k, v in asked.items() if v is not None})


def _decoder_settings(params: RetrainParams, profile: Profile) -> DecoderSettings:
    steps = params.decoder_steps or profile.decoder.steps
    return profile.decoder.model_copy(update={"steps": steps})


def _as_markdown(result: dict[str, Any]) -> str:
    lines = [
        f"`{result['model']}` ({result['alias']}), trained on `{result['dataset']}@{result['dataset_tag']}`",
        "",
        "| part | steps | seconds | first loss | last loss | held-out: fresh | base | candidate |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for part, figures in result["parts"].items():
        heldout = [f"{figures['heldout'][whose]['loss']:.4f}" for whose in ("fresh", "base", "candidate")]
        losses = [f"{figures[name]:.4f}" for name in ("first_loss", "last_loss")]
        cells = [part, str(figures["steps"]), f"{figures['seconds']:.0f}", *losses, *heldout]
        lines.append(f"| {' | '.join(cells)} |")
    sources = {part: figures["heldout_source"] for part, figures in result["parts"].items()}
    lines += ["", *(f"Held out for {part}: {source}." for part, source in sources.items())]
    return "\n".join(lines) + "\n"
