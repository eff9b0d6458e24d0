"""Captions that roll up, as video sites make them of speech: each line is shown again above the one that follows it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

MAX_ROLL_S = 0.05
"""Between two lines the first one stands alone for so long, which nobody could read."""


class Cue(NamedTuple):
    """The words of a cue, line by line, and when they are shown."""

    start_s: float
    end_s: float
    text: str


def unrolled(cues: Iterable[Cue]) -> Iterator[Cue]:
    """Gives the cues, each of captions that roll up with the lines alone that it adds to the one before."""
    listed = list(cues)
    lines = [[line.strip() for line in cue.text.splitlines() if line.strip()] for cue in listed]
    shown = list(zip(listed, lines, strict=True))
    if not any(_only_rolls(before, after) for before, after in pairwise(shown)):
        yield from listed
        return
    before: list[str] = []
    for cue, here in shown:
        repeated = next(
            n for n in range(min(len(before), len(here)), -1, -1) if here[:n] == before[len(before) - n :]
        )
        if here[repeated:]:
            yield cue._replace(text="\n".join(here[repeated:]))
        before = here or before


def _only_rolls(before: tuple[Cue, list[str]], after: tuple[Cue, list[str]]) -> bool:
    cue, lines = after
    return cue.end_s - cue.start_s <= MAX_ROLL_S and bool(lines) and lines == before[1][-len(lines) :]
