"""Carries out an evaluation: of a model, beside the champion and with the gate where asked, or of finished videos."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from flows.cut_captions import say_what_is_cut
from flows.evaluate.record import record_in_own_run, record_on_version
from flows.evaluate.report import as_markdown
from flows.evaluate.request import EvaluateRequest, ScoreVideosRequest
from flows.model import tell_published
from flows.promote.pages import write_pages
from flows.promote.request import PromoteParams
from flows.promote.request import read_request as read_promotion
from flows.promote.run import run as promote
from flows.runs.artifacts import show_markdown
from flows.runs.progress import stage_progress
from storage.registry.names import version_ref
from storage.registry.registry import Registry
from tasks import markdown
from tasks.evaluation.evaluate import evaluate_model
from tasks.evaluation.leakage import trained_digests
from tasks.evaluation.report import EvaluationReport
from tasks.evaluation.score_videos import score_videos
from tasks.evaluation.workers import MeasuringPool


def run(request: EvaluateRequest | ScoreVideosRequest) -> dict[str, Any]:
    """Carries it out; returns the report as plain values, with what was decided and where the pages lie."""
    started_s = time.monotonic()
    result = _score(request) if isinstance(request, ScoreVideosRequest) else _evaluate(request)
    seconds = result["seconds"] | {"total": round(time.monotonic() - started_s, 2)}
    return {**result, "seconds": seconds}


def nothing_evaluated(reason: str) -> dict[str, Any]:
    """Shows that a run had nothing to do, and returns its result."""
    show_markdown(markdown.text(reason) + "\n", key="evaluation", description="nothing was evaluated")
    return {"evaluated": False, "reason": reason}


def _evaluate(request: EvaluateRequest) -> dict[str, Any]:
    params, version = request.params, request.model.version
    tell_published(request.model.ref, request.sampling)
    with MeasuringPool(request.settings.num_videos) as pool:
        result = _evaluate_model(request, pool).as_dict()
        if params.beside_champion or params.then_promote:
            # Asked now, not before hours of work: it is to be beside whoever is champion when the gate decides.
            champion = Registry().champion(request.profile.name)
            result["champion"] = champion
            if champion is not None and champion != version:
                _evaluate_model(request.of_model(version_ref(champion)), pool)
    if params.then_promote:
        asked = PromoteParams(
            model=request.asked_for, evaluated_version=version, profile=params.profile, set=params.set
        )
        decided = promote(read_promotion(asked))
        result["promotion"] = {name: decided[name] for name in ("promoted", "verdict", "reason", "champion")}
    if version is not None:
        result["pages"] = {name: str(path) for name, path in write_pages(Registry()).items()}
    return result


def _evaluate_model(request: EvaluateRequest, pool: MeasuringPool) -> EvaluationReport:
    """Evaluates one model, records it on its version, if it has one, and shows it as an artifact of the run."""
    model = request.model
    trained_on, unknown = trained_digests(model.tags)
    with stage_progress("evaluate") as on_progress:
        evaluation = evaluate_model(
            model.folder,
            request.reference,
            request.profile.clip,
            request.settings,
            request.sampling.settings,
            pool,
            trained_on,
            on_progress,
        )
    unseen = f"none of the reference files is among the {len(trained_on)} it was trained on"
    # Not how clips are joined: every frame is shown, so that seams can be measured.
    sampling = {name: how for name, how in request.sampling.as_dict().items() if name != "seam"}
    report = replace(
        evaluation.report,
        model=model.ref,
        model_version=model.version,
        sampling=sampling,
        lineage=unknown or unseen,
    )
    say_what_is_cut("evaluate", report.cut_prompts, "prompts")
    if model.version is not None:
        record_on_version(Registry(), model.version, replace(evaluation, report=report))
    show_markdown(as_markdown(report), key="evaluation", description="metrics of one model")
    return report


def _score(request: ScoreVideosRequest) -> dict[str, Any]:
    with stage_progress("evaluate") as on_progress, MeasuringPool(len(request.videos.sources)) as pool:
        evaluation = score_videos(
            request.videos,
            request.reference,
            request.profile.clip,
            request.settings,
            request.profile.sampling,
            pool,
            on_progress,
        )
    say_what_is_cut("evaluate", evaluation.report.cut_prompts)
    run_id = record_in_own_run(Registry(), evaluation)
    show_markdown(as_markdown(evaluation.report), key="evaluation", description="metrics of a folder")
    return {**evaluation.report.as_dict(), "mlflow_run": run_id}
