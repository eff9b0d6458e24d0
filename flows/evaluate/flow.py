"""Evaluates a model against real videos, beside the champion where asked, and records what the gate needs.

vidrd evaluate --model models:/vidrd@candidate --reference DIR
vidrd evaluate --videos DIR --reference DIR
prefect deployment run evaluate/evaluate
"""

from __future__ import annotations

from prefect import flow

from flows.evaluate.request import EvaluateParams, nothing_to_evaluate, read_request
from flows.evaluate.run import nothing_evaluated, run
from flows.runs.failures import tells_why
from flows.runs.read_once import request_of


@flow(name="evaluate")
@tells_why
def evaluate(params: EvaluateParams = EvaluateParams()) -> dict:  # noqa: B008 (Prefect shows it as the default)
    """Samples, measures and records; returns the report with what was decided and where the pages lie.

    With `videos` that of the folder with its MLflow run: no version is touched.
    """
    reason = nothing_to_evaluate(params)
    return run(request_of(params, read_request)) if reason is None else nothing_evaluated(reason)
