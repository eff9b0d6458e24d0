"""The model that a request names, found before anything heavy, and the profile that goes with it."""

from __future__ import annotations

import re
from pathlib import Path

from flows.profile import EMBEDDED, Profile, check_model_profile, load_profile
from flows.profile_choice import ProfileParams, choose_profile, profile_of_model
from flows.terminal import tell
from storage.local.dry_run import scratch
from storage.registry.model_folder import ResolvedModel, is_registered, model_folder
from storage.registry.names import CHAMPION_REF, version_ref
from tasks.errors import RequestError
from tasks.generation.resolve import ResolvedSampling, resolve_sampling
from tasks.generation.settings import SamplingSettings

_OF_A_HUB = re.compile(r"(?P<owner>[A-Za-z0-9][\w.-]*)/[\w.-]+(@[\w./-]+)?")


def resolve(ref: str) -> ResolvedModel:
    """Finds the folder of a model reference, a plain folder without MLflow; StorageError when there is none.

    `owner/name`, where there is no such folder nor one that it could be in, is a hub's: its configurations and weights
    are fetched into the hub's cache, no code; a dry run takes what is there already. ModelError when there is none.
    """
    if is_registered(ref):
        from storage.registry.registry import resolve_model

        return resolve_model(ref)
    if not is_of_a_hub(ref):
        return model_folder(ref)
    from vidrd_model.references import find_folder

    return ResolvedModel(find_folder(ref, {"local_files_only": True} if scratch() is not None else {}), ref)


def is_of_a_hub(ref: str) -> bool:
    """Whether a reference can only be the id of a model on a hub, `owner/name` or `owner/name@revision`."""
    named = _OF_A_HUB.fullmatch(ref)
    return named is not None and not Path(ref).exists() and not Path(named["owner"]).is_dir()


def find_model(ref: str, params: ProfileParams) -> tuple[ResolvedModel, Profile]:
    """Gives a model, and the profile that is asked for or else the model's own.

    StorageError when there is no such model, RequestError when it is of another profile than the one asked for.
    """
    asked = None if params.profile is None else choose_profile(params, None)  # refused before MLflow is asked
    model = resolve(ref)
    profile = asked or choose_profile(params, profile_of_model(model))
    check_model_profile(model, profile)
    return model, profile


def find_champion(params: ProfileParams) -> tuple[ResolvedModel, Profile]:
    """Gives the champion, of the profile that is asked for where one is, and before there is one the profile's model.

    Raises as `find_model` does.
    """
    asked = None if params.profile is None else choose_profile(params, None)
    from storage.registry.registry import Registry

    version = Registry().champion(None if asked is None else asked.name)
    if version is not None:
        return find_model(CHAMPION_REF if asked is None else version_ref(version), params)
    profile = asked or load_profile(EMBEDDED, params.set)
    # Where the profile's model is no folder either, the champion is refused in words that say who makes one.
    is_here = Path(profile.model, "model_index.json").is_file()
    return resolve(profile.model if is_here else CHAMPION_REF), profile


def model_sampling(
    model: ResolvedModel,
    profile: Profile,
    params: ProfileParams,
    options: SamplingSettings | None = None,
    is_fast: bool = False,
) -> ResolvedSampling:
    """Gives how a model's videos are sampled, with `options` over all else.

    RequestError where it is to be fast and the profile does not say how.

    The settings of `profile` count where somebody has named it, the model notes it, or it is the profile of this very
    folder; the embedded one that stands in for any other says nothing of how another model is sampled.
    """
    is_its_own = (
        params.profile is not None
        or profile_of_model(model) is not None
        or Path(profile.model).resolve() == model.folder.resolve()
    )
    asked = asked_sampling(profile, options)
    if is_fast and not profile.fast.changes():
        raise RequestError(
            f"fast: the profile {profile.name} has no section [fast]; say how by --set, such as "
            "--set fast.cache_interval=3"
        )
    fast = profile.fast if is_fast else None
    return resolve_sampling(asked, model.folder, profile.sampling if is_its_own else None, fast)


def tell_published(ref: str, sampling: ResolvedSampling) -> None:
    """Says of a model that has saved nothing, and is of no known profile, how it is sampled."""
    if "num_inference_steps" in sampling.published():
        settings = sampling.settings
        tell(
            f"note: {ref} says neither how it is sampled nor of which profile it is: as published then "
            f"({settings.num_inference_steps} steps, guidance {settings.guidance_scale:g}); --profile takes a profile's"
        )


def asked_sampling(profile: Profile, options: SamplingSettings | None) -> SamplingSettings | None:
    """Gives what was asked for of the sampling, by options and by `--set sampling.NAME`, which the options outdo."""
    prefix = "sampling."
    names = {key.removeprefix(prefix) for key in profile.changes if key.startswith(prefix)}
    values = profile.sampling.model_dump(include=names)
    if options is not None:
        values |= options.model_dump(include=options.model_fields_set)
    # Checked already, each by itself; whether they fit together is asked once all sources are known.
    return SamplingSettings.model_construct(set(values), **values) if values else None
