"""Text to video: one prompt or a file of prompts to mp4 files that any player opens.

vidrd generate "a red circle moving right" --clips 3 --seed 7 --out out.mp4
prefect deployment run generate/generate
"""

from __future__ import annotations

from prefect import flow

from flows.generate.request import EXAMPLE_PROMPT, GenerateParams, read_request
from flows.generate.run import run
from flows.runs.failures import tells_why
from flows.runs.read_once import request_of

__all__ = ["GenerateParams", "generate"]


@flow(name="generate")
@tells_why
def generate(params: GenerateParams = GenerateParams(prompt=EXAMPLE_PROMPT)) -> dict:  # noqa: B008
    """Samples every prompt and returns the files with what makes them again."""
    return run(request_of(params, read_request))
