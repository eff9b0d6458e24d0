"""What a larger corpus would take: hours, machines, storage and money, from the build's own stages on a sample.

vidrd dataset plan --corpora corpora.toml --sources 10000000 --cpus 64 --gpus 8 --gpu-price 2.5
"""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from flows.profile import load_profile
from storage.local.home import home
from storage.local.typed_paths import TypedPath, TypedText
from tasks.errors import RequestError

WORLD_SEED = 7


class PlanParams(BaseModel):
    """The corpus to plan for, and the machines; the prices are of one core and of one GPU for an hour."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    corpora: TypedPath | None = Field(
        None, description="corpora file; none: the tiny world, for the profile tiny"
    )
    sources: int = Field(10_000_000, ge=1, le=10**12)
    profile: TypedText = "tiny"
    cpus: int | None = Field(None, ge=1, description="cores; none: as many as here")
    gpus: int | None = Field(None, ge=0, description="GPUs; none: one if there is one here")
    gpu_speedup: float | None = Field(
        None,
        gt=0,
        description="how much faster one planned GPU runs the models than a core, or the GPU, does here",
    )
    cpu_price: float | None = Field(None, ge=0)
    gpu_price: float | None = Field(None, ge=0)


def plan(params: PlanParams) -> dict[str, Any]:
    """Measures a sample and extrapolates; RequestError or StorageError when the request cannot be carried out."""
    profile = load_profile(params.profile)
    if params.corpora is None and profile.name != "tiny":
        raise RequestError(f"corpora: missing; the profile {profile.name} has no corpora of its own")
    if not params.gpus and (params.gpu_speedup is not None or params.gpu_price is not None):
        raise RequestError(
            "gpus: missing or 0, but gpu_speedup or gpu_price is given; say how many there are"
        )

    import torch

    from tasks.corpora.config import load_corpora
    from tasks.planning.extrapolate import Machines, extrapolate
    from tasks.planning.measure import measure

    here_gpu = torch.cuda.is_available()
    gpus = int(here_gpu) if params.gpus is None else params.gpus
    if here_gpu and not gpus:
        raise RequestError(
            "gpus: is 0, but the models run on a GPU here; plan with one, or hide it to measure cores"
        )
    machines = Machines(
        params.cpus or os.cpu_count() or 1,
        gpus,
        params.gpu_speedup or 1.0,
        params.cpu_price,
        params.gpu_price,
    )
    corpora_path = params.corpora or _tiny_world()
    recipe = profile.recipe()
    measured = measure(load_corpora(corpora_path, recipe.captions_needed), recipe)
    result = extrapolate(measured, params.sources, machines)
    return {
        "profile": profile.name,
        "corpora_file": str(corpora_path),
        "measured_on": f"{os.cpu_count()} cores, {platform.machine()}"
        + (f", {torch.cuda.get_device_name()}" if here_gpu else ", no GPU"),
        **result,
        "assumptions": _assumptions(params, result, here_gpu),
    }


def _tiny_world() -> Path:
    from tasks.tiny.world.corpora import write_tiny_world

    return write_tiny_world(home() / "tiny-world", WORLD_SEED)


def _assumptions(params: PlanParams, result: dict[str, Any], here_gpu: bool) -> list[str]:
    """Everything that the figures rest on and that the plan did not measure."""
    corpora = result["corpora"]
    sampled, failed = (sum(corpus[name] for corpus in corpora) for name in ("sampled", "failed"))
    told = [
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
        told.append("A corpus with one sampled source is taken to vary by as much as its mean.")
    if params.corpora is None:
        told.append("The sources are those of the generated tiny world, which real media may not resemble.")
    gpus, speedup = result["machines"]["gpus"], result["machines"]["gpu_speedup"]
    if here_gpu:
        told.append(f"A planned GPU is taken to be {speedup:g} times as fast as the one here.")
    elif gpus and params.gpu_speedup is None:
        told.append(
            "There is no GPU here, so a planned GPU is taken to be as fast as one core; "
            "gpu_speedup says how much faster it is."
        )
    elif gpus:
        told.append(
            f"There is no GPU here: that one is {speedup:g} times a core is your figure, not measured."
        )
    if result["cost"] is not None:
        told.append(
            "The cost is that of all machines for the whole time; a price not given counts as nothing."
        )
    return told
