"""The model that a request names, found before anything heavy: a folder without MLflow, a version through it."""

from __future__ import annotations

from flows.profile import Profile, check_model_profile
from storage.registry.model_folder import ResolvedModel, is_registered, model_folder


def find_model(ref: str, profile: Profile) -> ResolvedModel:
    """The folder of a model reference; StorageError when there is none, RequestError when it is of another profile."""
    if is_registered(ref):
        from storage.registry.registry import resolve_model

        model = resolve_model(ref)
    else:
        model = model_folder(ref)
    check_model_profile(model, profile)
    return model
