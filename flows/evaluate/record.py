"""Records an evaluation in MLflow: its report and features as files, its metrics, and as tags how they were taken."""

from __future__ import annotations

import tempfile
from pathlib import Path

from flows.evaluate.report import as_markdown
from storage.local.json_files import write_json
from storage.registry.evaluation_files import keep_evaluation
from storage.registry.names import (
    FEATURES_FILE,
    NUM_VIDEOS_TAG,
    PAGE_FILE,
    PROTOCOL_TAG,
    REFERENCE_FILE,
    REFERENCE_TAG,
    REPORT_FILE,
    SEED_TAG,
    SETUP_TAG,
    UNAVAILABLE_TAG,
)
from storage.registry.registry import Registry
from storage.registry.runs import check_finite
from tasks.evaluation.features import save_features
from tasks.evaluation.metrics import named_metrics
from tasks.evaluation.report import Evaluation, EvaluationReport

RUN_NAME = "evaluate-videos"


def record_on_version(registry: Registry, version: int, evaluation: Evaluation) -> None:
    """Metrics on the version, named after protocol and n; the features behind them as files; tags of the set-up."""
    with tempfile.TemporaryDirectory() as name:
        files = _write_files(Path(name), evaluation)
        keep_evaluation(registry, version, evaluation.setup_digest, files)
    # After the files: whoever reads the tag finds them.
    registry.log_version_metrics(version, _metrics(evaluation.report), _tags(evaluation.report))


def record_in_own_run(registry: Registry, evaluation: Evaluation) -> str:
    """Opens a run for the set-up, the metrics under the names that versions have, and the files; returns its id."""
    report = evaluation.report
    assert report.videos is not None
    metrics = _metrics(report)
    check_finite(metrics)
    values = report.as_dict()
    with (
        registry.start_run(RUN_NAME, _tags(report) | {"videos": report.videos.folder}) as run,
        tempfile.TemporaryDirectory() as name,
    ):
        run.log_params({"setup": values["setup"], "videos": values["videos"]})
        run.log_metrics([(0, metrics)])
        for file in _write_files(Path(name), evaluation):
            run.log_bytes(file.name, file.read_bytes())
    return run.run_id


def _write_files(folder: Path, evaluation: Evaluation) -> list[Path]:
    save_features(folder / FEATURES_FILE, evaluation.features, {})
    save_features(folder / REFERENCE_FILE, evaluation.reference, {})
    write_json(folder / REPORT_FILE, evaluation.report.as_dict())
    (folder / PAGE_FILE).write_text(as_markdown(evaluation.report), encoding="utf-8")
    return [folder / file for file in (FEATURES_FILE, REFERENCE_FILE, REPORT_FILE, PAGE_FILE)]


def _metrics(report: EvaluationReport) -> dict[str, float]:
    return named_metrics(report.metrics, report.reference.metrics)


def _tags(report: EvaluationReport) -> dict[str, str]:
    """Returns the tags that say of a version or a run how its metrics were taken."""
    return {
        PROTOCOL_TAG: report.protocol,
        NUM_VIDEOS_TAG: str(report.n),
        SEED_TAG: str(report.seed),
        REFERENCE_TAG: report.reference.digest,
        UNAVAILABLE_TAG: "; ".join(f"{name}: {why}" for name, why in report.unavailable.items()),
        SETUP_TAG: report.setup.digest(),
    }
