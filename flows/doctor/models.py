"""The models of a profile and the weights known by name: what is at hand, and what would be fetched."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from flows.doctor.finding import Finding
from flows.profile import Profile
from storage.weights import list_weights


def models(profile: Profile) -> Iterable[Finding]:
    """The base model and the CLIP model of a profile."""
    for about, name in (("model", profile.model), ("CLIP", profile.clip)):
        if Path(name).is_dir():
            yield Finding(f"{about} of {profile.name}", "ok", name)
        elif Path(name).is_absolute():
            yield Finding(
                f"{about} of {profile.name}",
                "problem",
                f"{name}: there is no such folder",
                f"correct it in the profile {profile.source}",
            )
        else:
            yield Finding(
                f"{about} of {profile.name}",
                "note",
                f"{name}: no folder",
                "it is fetched from its hub when first used",
            )


def weights() -> Iterable[Finding]:
    """The weights that metrics need, by name."""
    for one, is_cached in list_weights():
        if is_cached:
            yield Finding(f"weights {one.name}", "ok", str(one.path))
        else:
            yield Finding(f"weights {one.name}", "note", "not fetched", f"vidrd weights fetch {one.name}")
