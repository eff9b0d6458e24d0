"""What one look at the machine or a server found, and how a look that fails becomes a finding too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from storage.local.addresses import without_secrets
from vidrd_model.errors import VidrdError


@dataclass(frozen=True)
class Finding:
    """One line of `vidrd doctor`: a `problem` ends commands, a `note` some of them or only slows them."""

    about: str
    state: Literal["ok", "note", "problem"]
    found: str
    do: str = ""


Look = Callable[[], Iterable[Finding]]
"""Looks at one thing, and leaves it as it is."""


def found_by(about: str, look: Look) -> Iterator[Finding]:
    """Yields what a look finds; what it raises is a problem of what it is about, and the next look is taken.

    An error of ours says what to do itself.
    """
    try:
        yield from look()
    except VidrdError as error:
        yield Finding(about, "problem", without_secrets(str(error)))
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), "")
        yield Finding(
            about,
            "problem",
            without_secrets(f"could not be looked at: {type(error).__name__} {reason}".strip()),
        )
