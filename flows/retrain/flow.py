"""Retraining: a dataset to a registered candidate model.

vidrd retrain --dataset runs/datasets/tiny --part both
prefect deployment run retrain/retrain
"""

from __future__ import annotations

from prefect import flow

from flows.retrain.request import RetrainParams, read_request
from flows.retrain.training import run
from flows.runs.failures import tells_why
from flows.runs.read_once import request_of

__all__ = ["RetrainParams", "retrain"]


@flow(name="retrain")
@tells_why
def retrain(params: RetrainParams = RetrainParams()) -> dict:  # noqa: B008 (Prefect shows it as the default)
    """Trains on Ray, logs curves and held-out losses, and registers the result as `candidate`.

    A decoder that came out no better than it was is left out; where nothing else was trained nothing is registered.
    An interrupted training of the same configuration goes on where it stopped, in its own MLflow run.
    """
    return run(request_of(params, read_request))
