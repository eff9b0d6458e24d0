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

from flows.cut_captions import say_what_is_cut
from flows.evaluate.record import evaluation_tags, write_evaluation
from flows.evaluate.report import as_markdown
from flows.evaluate.request import (
    EvaluateParams,
    check_reference,
    evaluation_settings,
    model_ref,
    reference_folder,
)
from flows.evaluate.videos import check_videos, evaluate_videos
from flows.profile import check_model_profile, load_profile
from flows.runs.failures import tells_why
from flows.runs.progress import stage_progress
from storage.registry.names import CANDIDATE, CANDIDATE_REF, CHAMPION, SETUP_TAG, version_ref
from tasks import markdown
from tasks.errors import RequestError
from tasks.generation.resolve import resolve_sampling

if TYPE_CHECKING:
    from storage.registry.model_folder import ResolvedModel
    from storage.registry.registry import Registry
    from tasks.evaluation.evaluate import Evaluation


def check(params: EvaluateParams) -> None:
    """Raises RequestError or StorageError, one line, when the request cannot be carried out."""
    from storage.registry.registry import Registry, resolve_model

    if params.videos is not None:
        check_videos(params)
    else:
        model, profile = resolve_model(model_ref(params)), load_profile(params.profile)
        check_model_profile(model, profile)
        resolve_sampling(None, model.folder, profile.sampling)
        check_reference(params)
    Registry().check_artifacts()


@flow(name="evaluate")
@tells_why
def evaluate(params: EvaluateParams = EvaluateParams()) -> dict:  # noqa: B008 (Prefect shows it as the default)
    """Samples, measures, records; returns the report of `evaluate_model` with the model's name.

    With `videos` that of `score_videos` with its MLflow run: no version is touched.
    """
    from flows.promote.pages import write_pages
    from storage.registry.registry import Registry, resolve_model

    if params.videos is not None:
        check(params)
        return evaluate_videos(params, params.videos)
    nothing = _nothing_to_evaluate(params)
    if nothing is not None:
        create_markdown_artifact(
            markdown.text(nothing) + "\n", key="evaluation", description="nothing was evaluated"
        )
        return {"evaluated": False, "reason": nothing}
    check(params)
    started_s = time.monotonic()
    # Looked up once: a retraining may move the alias while this one is still being evaluated.
    model = resolve_model(model_ref(params))
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
    from storage.registry.registry import Registry

    newest = model_ref(params) == CANDIDATE_REF
    if params.then_promote and newest and Registry().alias_version(CANDIDATE) is None:
        return "nothing to evaluate: there is no candidate yet; retrain makes one"
    return None


def _evaluate(model: ResolvedModel, params: EvaluateParams) -> dict[str, Any]:
    """One model's report, recorded on its version if it has one, and shown as an artifact of the run."""
    from storage.registry.registry import Registry
    from tasks.evaluation.evaluate import evaluate_model
    from tasks.evaluation.leakage import trained_digests

    profile = load_profile(params.profile)
    trained_on, unknown = trained_digests(model.tags)
    resolved = resolve_sampling(None, model.folder, profile.sampling)
    with stage_progress("evaluate") as on_progress:
        evaluation = evaluate_model(
            model.folder,
            reference_folder(params, profile),
            profile.clip,
            evaluation_settings(params, profile),
            resolved.settings,
            trained_on,
            on_progress,
        )
    report = {"model": model.ref, "model_version": model.version, **evaluation.report}
    say_what_is_cut("evaluate", report["cut_prompts"], "prompts")
    # Not how clips are joined: every frame is shown, so that seams can be measured.
    report["sampling"] = {name: how for name, how in resolved.as_dict().items() if name != "seam"}
    report["lineage"] = (
        unknown or f"none of the reference files is among the {len(trained_on)} it was trained on"
    )
    if model.version is not None:
        _record(Registry(), model.version, report, evaluation)
    create_markdown_artifact(as_markdown(report), key="evaluation", description="figures of one model")
    return report


def _evaluate_champion(version: int, params: EvaluateParams) -> None:
    from storage.registry.registry import resolve_model

    champion = resolve_model(version_ref(version))
    check_model_profile(champion, load_profile(params.profile))
    _evaluate(champion, params)


def _promote(model: ResolvedModel, params: EvaluateParams) -> dict[str, Any]:
    from flows.promote.flow import PromoteParams, promote

    if model.version is None:
        raise RequestError(f"then_promote: {model.ref} is a folder; only registered versions can be promoted")
    asked = PromoteParams(model=model_ref(params), evaluated_version=model.version, profile=params.profile)
    decided = promote(asked)
    return {name: decided[name] for name in ("promoted", "verdict", "reason", "champion")}


def _record(registry: Registry, version: int, report: Mapping[str, Any], evaluation: Evaluation) -> None:
    """Figures on the version, named after protocol and n; the rows behind them as files; tags that name the set-up."""
    from storage.registry.evaluation_files import keep_evaluation
    from tasks.evaluation.metrics import recorded_figures

    with tempfile.TemporaryDirectory() as name:
        files = write_evaluation(Path(name), report, evaluation)
        keep_evaluation(registry, version, evaluation.setup_digest, files)
    # After the files: whoever reads the tag finds them.
    tags = evaluation_tags(report) | {SETUP_TAG: evaluation.setup_digest}
    registry.log_version_metrics(version, recorded_figures(report), tags)
