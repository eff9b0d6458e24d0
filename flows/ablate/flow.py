"""The paper's experiments on one model: variants of sampling, measured alike, as tables and charts.

vidrd ablate --experiment alpha --model models:/vidrd@champion
prefect deployment run ablate/ablate
"""

from __future__ import annotations

from prefect import flow

from flows.ablate.request import AblateParams, read_request
from flows.ablate.run import run
from flows.runs.failures import tells_why
from flows.runs.read_once import request_of


@flow(name="ablate")
@tells_why
def ablate(params: AblateParams = AblateParams()) -> dict:  # noqa: B008 (Prefect shows it as the default)
    """Measures, writes tables, charts and a page, and logs them; returns where they lie."""
    return run(request_of(params, read_request))
