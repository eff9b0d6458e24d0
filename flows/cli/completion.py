"""What a shell is offered at TAB: the values of options whose help lists them, profiles by name, keys of a profile."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from typer.models import OptionInfo

Offer = Callable[[str], list[str]]

_CHOICES = re.compile(r"[a-z0-9][a-z0-9+.-]*(\|[a-z0-9][a-z0-9+.-]*)+")


def offer_values(option: Any) -> None:
    """Gives an option what it offers, by its help: `keep|crossfade` is a list of choices."""
    if not isinstance(option, OptionInfo) or option.autocompletion is not None or option.metavar is None:
        return
    if _CHOICES.fullmatch(option.metavar):
        option.autocompletion = _among(option.metavar.split("|"))
    elif option.metavar in _OFFERS:
        option.autocompletion = _OFFERS[option.metavar]


def _among(choices: list[str]) -> Offer:
    def offer(incomplete: str) -> list[str]:
        return [choice for choice in choices if choice.startswith(incomplete)]

    return offer


def _profiles(incomplete: str) -> list[str]:
    from flows.settings.places import given_profiles, profile_names

    return _among([*profile_names(), *given_profiles()])(incomplete)


def _keys(incomplete: str) -> list[str]:
    from flows.profile import Profile
    from flows.settings.keys import leaf_keys

    return _among([f"{key}=" for key, _ in leaf_keys(Profile) if key != "name"])(incomplete)


def _models(incomplete: str) -> list[str]:
    """References that hold on every machine; versions are not asked for, since MLflow takes seconds."""
    from storage.registry.names import CANDIDATE_REF, CHAMPION_REF

    return _among([CHAMPION_REF, CANDIDATE_REF])(incomplete)


_OFFERS: dict[str, Offer] = {"NAME|FILE": _profiles, "SECTION.KEY=VALUE": _keys, "REF": _models}
