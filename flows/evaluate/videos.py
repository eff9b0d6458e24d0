"""Scores a folder of finished videos by a protocol: figures in an MLflow run of their own, no model version touched.

vidrd evaluate --videos DIR --reference DIR --protocol quick
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect.artifacts import create_markdown_artifact

from flows.cut_captions import say_what_is_cut
from flows.evaluate.record import evaluation_tags, write_evaluation
from flows.evaluate.report import as_markdown
from flows.evaluate.request import EvaluateParams, check_settings, evaluation_settings, reference_folder
from flows.profile import Profile, load_profile
from flows.runs.progress import stage_progress
from storage.registry.names import SETUP_TAG
from tasks.errors import RequestError

if TYPE_CHECKING:
    from tasks.evaluation.evaluate import Evaluation
    from tasks.evaluation.video_folder import VideoFolder

RUN_NAME = "evaluate-videos"
_OF_MODELS = ("model", "beside_champion", "then_promote")


def check_videos(params: EvaluateParams) -> None:
    """RequestError, one line, when the folder cannot be scored so; no network is loaded and nothing measured."""
    assert params.videos is not None
    _find(params, params.videos, load_profile(params.profile))


def evaluate_videos(params: EvaluateParams, folder: Path) -> dict[str, Any]:
    """Measures and records; returns the report of `score_videos` with the MLflow run that keeps it."""
    from tasks.evaluation.score_videos import score_videos

    started_s = time.monotonic()
    profile = load_profile(params.profile)
    videos = _find(params, folder, profile)
    with stage_progress("evaluate") as on_progress:
        evaluation = score_videos(
            videos,
            reference_folder(params, profile),
            profile.clip,
            evaluation_settings(params, profile),
            profile.sampling,
            on_progress,
        )
    report = evaluation.report
    say_what_is_cut("evaluate", report["cut_prompts"])
    run_id = _log(report, evaluation)
    create_markdown_artifact(as_markdown(report), key="evaluation", description="figures of a folder")
    seconds = {**report["seconds"], "total": round(time.monotonic() - started_s, 2)}
    return {**report, "mlflow_run": run_id, "seconds": seconds}


def _find(params: EvaluateParams, folder: Path, profile: Profile) -> VideoFolder:
    from tasks.evaluation.protocols import find_protocol
    from tasks.evaluation.video_folder import find_videos

    for name in _OF_MODELS:
        if getattr(params, name):
            raise RequestError(f"videos: finished videos are scored, no model is evaluated: leave out {name}")
    settings = evaluation_settings(params, profile)
    exact_number = params.num_videos is not None
    videos = find_videos(folder, find_protocol(settings.protocol), settings, exact_number)
    check_settings(reference_folder(params, profile), videos.adapt(settings))
    return videos


def _log(report: Mapping[str, Any], evaluation: Evaluation) -> str:
    """A run with the set-up, the figures under the names that versions have, the rows and the page; returns its id."""
    from storage.registry.registry import Registry
    from storage.registry.runs import check_finite
    from tasks.evaluation.metrics import recorded_figures

    figures = recorded_figures(report)
    check_finite(figures)
    tags = {"videos": report["videos"]["folder"], SETUP_TAG: evaluation.setup_digest}
    with (
        Registry().start_run(RUN_NAME, evaluation_tags(report) | tags) as run,
        tempfile.TemporaryDirectory() as name,
    ):
        run.log_params({"setup": report["setup"], "videos": report["videos"]})
        run.log_figures([(0, figures)])
        for file in write_evaluation(Path(name), report, evaluation):
            run.log_bytes(file.name, file.read_bytes())
    return run.run_id
