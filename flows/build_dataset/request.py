"""What to build: the parameters, and the request that is made of them once everything was looked up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from flows.own_footage import note_on_own_footage
from flows.profile import Profile, split_thresholds
from flows.profile_choice import ProfileParams, choose_profile, profile_of_dataset
from storage.dataset.builds import Build, finished_builds, last_with
from storage.dataset.folder import check_is_dataset
from storage.local.home import home
from storage.local.typed_fields import TypedPath
from tasks.errors import RequestError
from tasks.ingest.recipe import Recipe
from tasks.ingest.thresholds import Asked, thresholds_in_force
from tasks.output_folders import check_dataset_folder

if TYPE_CHECKING:
    from tasks.corpora.config import Corpora
    from tasks.ingest.run import Target


class BuildDatasetParams(ProfileParams):
    """What to build; as they are, the defaults write the tiny world and make the tiny dataset of it."""

    action: Literal["build", "refilter", "retry-quarantine"] = Field(
        "build",
        description="bring it up to date; or only apply thresholds; or only try the bad sources again",
    )
    corpora: TypedPath | None = Field(
        None, description="corpora file; none: the last build's, or for the profile tiny the tiny world"
    )
    dataset: TypedPath | None = Field(
        None, description="folder of the tables; none: datasets/PROFILE of VIDRD_HOME"
    )
    clip_threshold: float | None = Field(
        None,
        ge=-1,
        le=1,
        description="clips whose caption agrees less are rejected, from now on; none: as set on the dataset before, "
        "else the profile's",
    )
    filter: dict[str, Any] = Field(
        default_factory=dict, description="further settings of the profile's [filter], by name; set likewise"
    )
    reset: bool = Field(False, description="forget the thresholds that were set on the dataset before")
    allow_empty: bool = Field(
        False, description="go on even where that leaves no clip of a dataset that has some"
    )
    prune: bool = Field(False, description="drop what came of sources that are no longer in the corpora")


@dataclass(frozen=True)
class BuildDatasetRequest:
    """A request that can be carried out, with all that was looked up for it.

    `corpora` are None where no source is read, or where the tiny world is still to be made; `note` says that the
    profile is not made for these media. Which thresholds hold is asked again while the dataset is locked.
    """

    params: BuildDatasetParams
    profile: Profile
    recipe: Recipe
    target: Target
    corpora: Corpora | None
    asked: Asked
    note: str | None


def read_request(params: BuildDatasetParams) -> BuildDatasetRequest:
    """Looks everything up; RequestError or StorageError with one line when the request cannot be carried out."""
    if params.dataset is not None:
        check_dataset_folder(params.dataset)  # before the profile, which an earlier build in it may name
    profile, asked = _profile_and_thresholds(params)
    dataset_dir = params.dataset or home() / "datasets" / profile.name
    if params.action != "build":
        check_is_dataset(dataset_dir)
    builds = finished_builds(dataset_dir)
    corpora_path = _corpora_path(params, builds)
    if params.action != "refilter" and corpora_path is None and not profile.is_embedded:
        raise RequestError(f"corpora: missing; the profile {profile.name} has no corpora of its own")
    recipe = profile.recipe()
    thresholds = thresholds_in_force(builds, profile.filter, profile.name, asked)

    from tasks.corpora.config import read_corpora

    corpora = None
    if params.action != "refilter" and corpora_path is not None:
        corpora = read_corpora(corpora_path, recipe.captions_needed)

    from tasks.ingest.run import check_target

    target = check_target(
        dataset_dir, replace(recipe, filter=thresholds.settings), is_there=params.action != "build"
    )
    note = note_on_own_footage(profile, corpora_path)
    return BuildDatasetRequest(params, profile, recipe, target, corpora, asked, note)


def _profile_and_thresholds(params: BuildDatasetParams) -> tuple[Profile, Asked]:
    """Gives the profile asked for, else that of the dataset's last build, and the thresholds that the request names.

    What is set of `[filter]` is set on the dataset, however it is said: the profile stays as it is there.
    """
    noted = None if params.dataset is None else profile_of_dataset(params.dataset)
    thresholds, others = split_thresholds(params.set)
    values = params.filter | thresholds
    if params.clip_threshold is not None:
        values["clip_threshold"] = params.clip_threshold
    profile = choose_profile(params.model_copy(update={"set": others}), noted)
    return profile, Asked(values, params.reset)


def _corpora_path(params: BuildDatasetParams, builds: list[Build]) -> Path | None:
    """Gives the corpora file asked for, else that of the dataset's last build."""
    if params.corpora is not None:
        return params.corpora
    last = last_with(builds, "corpora")
    return None if last is None else Path(last.summary["corpora"])
