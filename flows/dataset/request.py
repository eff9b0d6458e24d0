"""What a plan is for: the parameters, and the request that is made of them once everything was looked up."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ConfigDict, Field

from flows.profile import Profile
from flows.profile_choice import ProfileParams, choose_profile, profile_of_dataset
from storage.dataset.builds import last_noted
from storage.dataset.folder import check_is_dataset
from storage.local.typed_fields import TypedPath
from tasks.errors import RequestError

if TYPE_CHECKING:
    from tasks.corpora.config import Corpora
    from tasks.planning.extrapolate import Machines


class PlanParams(ProfileParams):
    """The corpus to plan for, and the machines; the prices are of one core and of one GPU for an hour."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    dataset: TypedPath | None = Field(
        None, description="a dataset, whose last corpora and profile are planned for where none are named"
    )
    corpora: TypedPath | None = Field(
        None, description="corpora file; none: the dataset's, or the tiny world, for the profile tiny"
    )
    sources: int = Field(10_000_000, ge=1, le=10**12)
    cpus: int | None = Field(None, ge=1, description="cores; none: as many as here")
    gpus: int | None = Field(None, ge=0, description="GPUs; none: one if there is one here")
    gpu_speedup: float | None = Field(
        None,
        gt=0,
        description="how much faster one planned GPU runs the models than a core, or the GPU, does here",
    )
    cpu_price: float | None = Field(None, ge=0)
    gpu_price: float | None = Field(None, ge=0)


@dataclass(frozen=True)
class PlanRequest:
    """A plan that can be made; `corpora` are None for the tiny world, `gpu_here` is the GPU that is measured on."""

    params: PlanParams
    profile: Profile
    corpora: Corpora | None
    machines: Machines
    gpu_here: str | None


def read_request(params: PlanParams) -> PlanRequest:
    """Looks everything up; RequestError or StorageError with one line when the request cannot be carried out."""
    corpora_path, profile = planned_for(params)
    if not params.gpus and (params.gpu_speedup is not None or params.gpu_price is not None):
        raise RequestError(
            "gpus: missing or 0, but gpu_speedup or gpu_price is given; say how many there are"
        )

    import torch

    from tasks.corpora.config import read_corpora
    from tasks.planning.extrapolate import Machines

    gpu_here = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    gpus = int(gpu_here is not None) if params.gpus is None else params.gpus
    if gpu_here is not None and not gpus:
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
    corpora = None
    if corpora_path is not None:
        corpora = read_corpora(corpora_path, profile.recipe().captions_needed)
    return PlanRequest(params, profile, corpora, machines, gpu_here)


def planned_for(params: PlanParams) -> tuple[Path | None, Profile]:
    """Gives the corpora file, None for the tiny world, and the profile; RequestError or StorageError, one line."""
    noted, corpora = None, params.corpora
    if params.dataset is not None:
        check_is_dataset(params.dataset)
        noted, last = profile_of_dataset(params.dataset), last_noted(params.dataset, "corpora")
        corpora = corpora or (Path(last) if last else None)
    profile = choose_profile(params, noted)
    if corpora is None and not profile.is_embedded:
        raise RequestError(f"corpora: missing; the profile {profile.name} has no corpora of its own")
    return corpora, profile
