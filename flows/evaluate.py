"""Evaluates a model against a reference folder and records the figures on its registered version.

vidrd evaluate --model models:/vidrd@candidate --reference DIR
prefect deployment run evaluate/evaluate
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from pydantic import BaseModel, ConfigDict, Field

from flows.build_dataset import WORLD_SEED
from flows.profile import Profile, check_model_profile, load_profile
from flows.progress import stage_progress
from storage.home import home
from tasks.errors import RequestError
from tasks.evaluation.settings import EvaluationSettings, find_protocol


class EvaluateParams(BaseModel):
    """What to evaluate; as they are, the defaults score the newest candidate on the tiny world."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field("models:/vidrd@candidate", description="a folder or a registry reference")
    reference: Path | None = Field(
        None, description="a folder of captioned videos; none: the tiny world's, for the profile tiny"
    )
    protocol: str | None = Field(None, description="tiny or quick; none: the profile's")
    num_videos: int | None = Field(None, ge=2, description="none: the profile's")
    seed: int | None = Field(None, ge=0, lt=2**32, description="none: the profile's")
    profile: str = "tiny"


def check(params: EvaluateParams) -> None:
    """Raises RequestError or StorageError, one line, when the request cannot be carried out."""
    from storage.registry import resolve_model

    check_model_profile(resolve_model(params.model), load_profile(params.profile))
    check_reference(params)


def check_reference(params: EvaluateParams) -> None:
    """Raises RequestError, one line, when no model could be evaluated so: a protocol or reference that is none."""
    from tasks.evaluation.reference import find_sources

    profile = load_profile(params.profile)
    settings = _settings(params, profile)
    find_protocol(settings.protocol)
    find_sources(_reference(params, profile), settings)


@flow(name="evaluate")
def evaluate(params: EvaluateParams = EvaluateParams()) -> dict:  # noqa: B008 (Prefect shows it as the default)
    """Samples, measures, records; returns the report of `evaluate_model` with the model's name."""
    from storage.registry import resolve_model
    from tasks.cluster import ensure_ray
    from tasks.evaluation.evaluate import evaluate_model

    check(params)
    started = time.monotonic()
    profile = load_profile(params.profile)
    settings = _settings(params, profile)
    model = resolve_model(params.model)
    ensure_ray()
    with stage_progress("evaluate") as on_progress:
        report = evaluate_model(
            model.folder,
            _reference(params, profile),
            profile.clip,
            settings,
            profile.sampling,
            samples_dir=home() / "evaluation" / f"samples-{model.version or model.folder.name}",
            on_progress=on_progress,
        )
    result = {"model": model.ref, "model_version": model.version, **report}
    if model.version is not None:
        _record(model.version, report, settings)
    result["seconds"] = {**report["seconds"], "total": round(time.monotonic() - started, 2)}
    create_markdown_artifact(as_markdown(result), key="evaluation", description="figures of one model")
    return result


def _settings(params: EvaluateParams, profile: Profile) -> EvaluationSettings:
    """The profile's settings with what the request changes; the long videos are never more than all."""
    asked = params.model_dump(include={"protocol", "num_videos", "seed"}, exclude_none=True)
    values = profile.evaluation.model_dump() | asked
    values["seam_videos"] = min(values["seam_videos"], values["num_videos"])
    return EvaluationSettings.model_validate(values)


def _reference(params: EvaluateParams, profile: Profile) -> Path:
    """The reference folder; the tiny world is written where it is asked for and not there yet."""
    from tasks.tiny_world.corpora import write_tiny_world

    if params.reference is not None:
        return params.reference
    if profile.name != "tiny":
        raise RequestError(
            f"reference: missing; the profile {profile.name} has no reference videos of its own"
        )
    world = home() / "tiny-world"
    if not world.is_dir():
        write_tiny_world(world, WORLD_SEED)
    return world / "reference"


def _record(version: int, report: dict[str, Any], settings: EvaluationSettings) -> None:
    """Figures on the model version, named after protocol and n, and tags with what else they depend on."""
    from storage.registry import Registry
    from tasks.evaluation.gate import recorded_figures

    tags = {
        "evaluation.protocol": report["protocol"],
        "evaluation.n": str(report["n"]),
        "evaluation.seed": str(report["seed"]),
        "evaluation.reference": report["reference"]["digest"],
        "evaluation.gate": settings.gate.model_dump_json(),
        "evaluation.unavailable": "; ".join(f"{name}: {why}" for name, why in report["unavailable"].items()),
    }
    Registry().log_version_metrics(version, recorded_figures(report), tags)


def as_markdown(result: dict[str, Any]) -> str:
    """The figures as a table, protocol and n beside each, and what could not be computed."""
    lines = [
        f"Model `{result['model']}`, reference `{result['reference']['folder']}`",
        "",
        f"Protocol **{result['protocol']}**: {result['about']}.",
        "",
        "| figure | value | reference clips | protocol | n |",
        "|---|---:|---:|---|---:|",
    ]
    real = result["reference"]["metrics"]
    for name, metric in result["metrics"].items():
        beside = f"{real[name]['value']:.4g}" if name in real else ""
        lines.append(f"| {name} | {metric['value']:.4g} | {beside} | {metric['protocol']} | {metric['n']} |")
    lines += [f"\n{name} is missing: {why}" for name, why in result["unavailable"].items()]
    unreadable = result["reference"]["unreadable"]
    if unreadable:
        lines.append(f"\nNot readable in the reference folder: {len(unreadable)}")
        lines += [f"- `{item['file']}`: {item['error']}" for item in unreadable]
    return "\n".join(lines) + "\n"
