"""What a larger corpus would take: hours, machines, storage and money, from the build's own stages on a sample.

vidrd dataset plan --corpora corpora.toml --sources 10000000 --cpus 64 --gpus 8 --gpu-price 2.5
"""

from __future__ import annotations

import os
import platform
from typing import Any

from flows.dataset.request import PlanRequest
from tasks.corpora.config import read_corpora
from tasks.planning.extrapolate import extrapolate
from tasks.planning.measure import measure
from tasks.tiny.world.corpora import shared_world


def run(request: PlanRequest) -> dict[str, Any]:
    """Measures a sample and extrapolates; RequestError for models that do not load."""
    recipe = request.profile.recipe()
    corpora = request.corpora or read_corpora(shared_world(), recipe.captions_needed)
    measured = measure(corpora.corpora, recipe)
    result = extrapolate(measured, request.params.sources, request.machines)
    return {
        "profile": request.profile.name,
        "corpora_file": str(corpora.path),
        "measured_on": f"{os.cpu_count()} cores, {platform.machine()}, {request.gpu_here or 'no GPU'}",
        **result,
        "assumptions": _assumptions(request, result),
    }


def _assumptions(request: PlanRequest, result: dict[str, Any]) -> list[str]:
    """Gives everything that the figures rest on and that the plan did not measure."""
    corpora = result["corpora"]
    sampled, failed = (sum(corpus[name] for corpus in corpora) for name in ("sampled", "failed"))
    assumptions = [
        "Linear: ten times the sources take ten times the time and storage, in the corpora's present shares.",
        f"The sample is {sampled} sources of {len(corpora)} corpora ({failed} of them failed and gave no clip); "
        "low and high are two standard errors of its mean, no bound.",
        "Stages overlap perfectly: the time is that of the slower of CPUs and GPUs, both always busy.",
        "Neither network nor disk limits: sources were read from where they lie now.",
        "Listing the sources, writing and committing rows and the search for near-duplicates are not counted; "
        "docs/scale.md says where they begin to matter.",
        "Bytes are those of the rows' values, kept and rejected, in one version; tables add little to them, "
        "older versions much until they are cleaned up.",
        "Seconds are those of one core, by CPU time; those of the models of the GPU, where there is one here.",
        "A core is one of this machine, and works as fast when all of them are busy.",
    ]
    if [corpus["name"] for corpus in corpora if corpus["sampled"] == 1]:
        assumptions.append("A corpus with one sampled source is taken to vary by as much as its mean.")
    if request.corpora is None:
        assumptions.append(
            "The sources are those of the generated tiny world, which real media may not resemble."
        )
    gpus, speedup = result["machines"]["gpus"], result["machines"]["gpu_speedup"]
    if request.gpu_here is not None:
        assumptions.append(f"A planned GPU is taken to be {speedup:g} times as fast as the one here.")
    elif gpus and request.params.gpu_speedup is None:
        assumptions.append(
            "There is no GPU here, so a planned GPU is taken to be as fast as one core; "
            "gpu_speedup says how much faster it is."
        )
    elif gpus:
        assumptions.append(
            f"There is no GPU here: that one is {speedup:g} times a core is your figure, not measured."
        )
    if result["cost"] is not None:
        assumptions.append(
            "The cost is that of all machines for the whole time; a price not given counts as nothing."
        )
    return assumptions
