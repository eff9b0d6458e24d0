"""Promotion: the candidate becomes champion when the gate finds it surely better on the same prompts and seeds.

vidrd promote --model models:/vidrd@candidate
vidrd promote --rollback
prefect deployment run promote/promote
"""

from __future__ import annotations

from prefect import flow

from flows.promote.request import PromoteParams, read_request
from flows.promote.run import run
from flows.runs.failures import tells_why
from flows.runs.read_once import request_of


@flow(name="promote")
@tells_why
def promote(params: PromoteParams = PromoteParams()) -> dict:  # noqa: B008 (Prefect shows it as the default)
    """Moves the alias `champion` or leaves it, and keeps the decision with its metrics on the version."""
    return run(request_of(params, read_request))
