"""Evaluates a model against real videos, beside the champion where asked, and records what the gate needs.

vidrd evaluate --model models:/vidrd@candidate --reference DIR
vidrd evaluate --videos DIR --reference DIR
prefect deployment run evaluate/evaluate
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from pydantic import BaseModel, ConfigDict, Field

from flows.build_dataset import WORLD_SEED
from flows.evaluation_report import as_markdown
from flows.profile import Profile, check_model_profile, load_profile
from flows.progress import stage_progress
from storage.home import home
from tasks.errors import RequestError
from tasks.evaluation.settings import EvaluationSettings

if TYPE_CHECKING:
    from storage.registry import Registry, ResolvedModel
    from tasks.evaluation.evaluate import Evaluation

DEFAULT_MODEL = "models:/vidrd@candidate"
MEASURES_FILE, REFERENCE_FILE, REPORT_FILE = "measures.npz", "reference.npz", "report.json"


class EvaluateParams(BaseModel):
    """What to evaluate; as they are, the defaults score the newest candidate on the tiny world."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(None, description=f"a folder or a registry reference; none: {DEFAULT_MODEL}")
    videos: Path | None = Field(
        None, description="score the finished videos of this folder instead of a model"
    )
    reference: Path | None = Field(
        None,
        description="a folder of captioned videos or UCF-101's; none: the tiny world's, for the profile tiny",
    )
    protocol: str | None = Field(
        None, description="tiny, quick, fvd2048-16f or vidrd-paper; none: the profile's"
    )
    num_videos: int | None = Field(
        None, ge=2, description="none: the profile's, or what another protocol asks for"
    )
    seed: int | None = Field(None, ge=0, lt=2**32, description="none: the profile's")
    c3d_weights: Path | None = Field(None, description="a C3D checkpoint of UCF-101, for the inception score")
    beside_champion: bool = Field(
        False, description="evaluate the champion alike, on the same prompts and seeds"
    )
    then_promote: bool = Field(False, description="let the gate decide, beside the champion, and act on it")
    profile: str = "tiny"


def check(params: EvaluateParams) -> None:
    """Raises RequestError or StorageError, one line, when the request cannot be carried out."""
    from flows.evaluate_videos import check_videos
    from storage.registry import resolve_model

    if params.videos is not None:
        check_videos(params)
        return
    check_model_profile(resolve_model(_model_ref(params)), load_profile(params.profile))
    check_reference(params)


def check_reference(params: EvaluateParams) -> None:
    """Raises RequestError, one line, when no model could be evaluated so: a protocol or reference that is none."""
    profile = load_profile(params.profile)
    check_settings(reference_folder(params, profile), evaluation_settings(params, profile))


def check_settings(reference: Path, settings: EvaluationSettings) -> None:
    """RequestError, one line, when the reference folder or the C3D weights are not what the settings ask for."""
    from tasks.evaluation.protocols import find_protocol
    from tasks.evaluation.reference import find_sources

    find_sources(reference, find_protocol(settings.protocol), settings)
    if settings.c3d_weights is not None and not settings.c3d_weights.is_file():
        raise RequestError(f"c3d_weights: {settings.c3d_weights} is no file")


@flow(name="evaluate")
def evaluate(params: EvaluateParams = EvaluateParams()) -> dict:  # noqa: B008 (Prefect shows it as the default)
    """Samples, measures, records; returns the report of `evaluate_model` with the model's name.

    With `videos` that of `score_videos` with its MLflow run: no version is touched.
    """
    from flows.evaluate_videos import evaluate_videos
    from flows.pages import write_pages
    from storage.registry import CHAMPION, Registry, resolve_model

    if params.videos is not None:
        return evaluate_videos(params, params.videos)
    nothing = _nothing_to_evaluate(params)
    if nothing is not None:
        create_markdown_artifact(nothing + "\n", key="evaluation", description="nothing was evaluated")
        return {"evaluated": False, "reason": nothing}
    check(params)
    started_s = time.monotonic()
    # Looked up once: a retraining may move the alias while this one is still being evaluated.
    model = resolve_model(_model_ref(params))
    result = _evaluate(model, params)
    if params.beside_champion or params.then_promote:
        champion = Registry().alias_version(CHAMPION)
        result["champion"] = champion
        if champion is not None and champion != model.version:
            _evaluate_champion(champion, params)
    if params.then_promote:
        result["promotion"] = _promote(model, params)
    if model.version is not None:
        result["pages"] = {name: str(path) for name, path in write_pages(Registry()).items()}
    result["seconds"] = {**result["seconds"], "total": round(time.monotonic() - started_s, 2)}
    return result


def _nothing_to_evaluate(params: EvaluateParams) -> str | None:
    """Why a run by schedule has nothing to do: no training has made a candidate yet. By hand that is an error."""
    from storage.registry import CANDIDATE, Registry

    newest = _model_ref(params) == DEFAULT_MODEL
    if params.then_promote and newest and Registry().alias_version(CANDIDATE) is None:
        return "nothing to evaluate: there is no candidate yet; retrain makes one"
    return None


def _model_ref(params: EvaluateParams) -> str:
    return DEFAULT_MODEL if params.model is None else params.model


def _evaluate(model: ResolvedModel, params: EvaluateParams) -> dict[str, Any]:
    """One model's report, recorded on its version if it has one, and shown as an artifact of the run."""
    from storage.registry import Registry
    from tasks.evaluation.evaluate import evaluate_model
    from tasks.evaluation.leakage import trained_digests

    profile = load_profile(params.profile)
    trained_on, unknown = trained_digests(model.tags)
    with stage_progress("evaluate") as on_progress:
        evaluation = evaluate_model(
            model.folder,
            reference_folder(params, profile),
            profile.clip,
            evaluation_settings(params, profile),
            profile.sampling,
            trained_on,
            on_progress,
        )
    report = {"model": model.ref, "model_version": model.version, **evaluation.report}
    report["lineage"] = (
        unknown or f"none of the reference files is among the {len(trained_on)} it was trained on"
    )
    if model.version is not None:
        _record(Registry(), model.version, report, evaluation)
    create_markdown_artifact(as_markdown(report), key="evaluation", description="figures of one model")
    return report


def _evaluate_champion(version: int, params: EvaluateParams) -> None:
    from storage.registry import resolve_model

    champion = resolve_model(f"models:/vidrd/{version}")
    check_model_profile(champion, load_profile(params.profile))
    _evaluate(champion, params)


def _promote(model: ResolvedModel, params: EvaluateParams) -> dict[str, Any]:
    from flows.promote import PromoteParams, promote

    if model.version is None:
        raise RequestError(f"then_promote: {model.ref} is a folder; only registered versions can be promoted")
    asked = PromoteParams(model=_model_ref(params), evaluated_version=model.version, profile=params.profile)
    decided = promote(asked)
    return {name: decided[name] for name in ("promoted", "reason", "champion")}


def evaluation_settings(params: EvaluateParams, profile: Profile) -> EvaluationSettings:
    """The profile's settings with what the request changes; the long videos are never more than all."""
    from tasks.evaluation.protocols import find_protocol

    asked = params.model_dump(include={"protocol", "num_videos", "seed", "c3d_weights"}, exclude_none=True)
    values = profile.evaluation.model_dump() | asked
    if params.num_videos is None and values["protocol"] != profile.evaluation.protocol:
        values["num_videos"] = find_protocol(values["protocol"]).default_num_videos
    values["long_videos"] = min(values["long_videos"], values["num_videos"])
    return EvaluationSettings.model_validate(values)


def reference_folder(params: EvaluateParams, profile: Profile) -> Path:
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


def _record(registry: Registry, version: int, report: Mapping[str, Any], evaluation: Evaluation) -> None:
    """Figures on the version, named after protocol and n; the rows behind them as files; tags that name the set-up."""
    from storage.evaluation_files import SETUP_TAG, keep_evaluation
    from tasks.evaluation.figures import recorded_figures

    with tempfile.TemporaryDirectory() as name:
        files = write_evaluation(Path(name), report, evaluation)
        keep_evaluation(registry, version, evaluation.setup_digest, files)
    # After the files: whoever reads the tag finds them.
    tags = evaluation_tags(report) | {SETUP_TAG: evaluation.setup_digest}
    registry.log_version_metrics(version, recorded_figures(report), tags)


def write_evaluation(folder: Path, report: Mapping[str, Any], evaluation: Evaluation) -> list[Path]:
    """The report and the rows behind it as files of a folder."""
    from storage.json_files import write_json
    from tasks.evaluation.measures import save_measures

    save_measures(folder / MEASURES_FILE, evaluation.measures, {})
    save_measures(folder / REFERENCE_FILE, evaluation.reference, {})
    write_json(folder / REPORT_FILE, dict(report))
    return [folder / file for file in (MEASURES_FILE, REFERENCE_FILE, REPORT_FILE)]


def evaluation_tags(report: Mapping[str, Any]) -> dict[str, str]:
    """What a version or a run says of how its figures were taken."""
    return {
        "evaluation.protocol": report["protocol"],
        "evaluation.n": str(report["n"]),
        "evaluation.seed": str(report["seed"]),
        "evaluation.reference": report["reference"]["digest"],
        "evaluation.unavailable": "; ".join(f"{name}: {why}" for name, why in report["unavailable"].items()),
    }
