"""Fair timing on noisy machines: everything that is compared runs in turn, in one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

MIN_S = 3.0
MIN_RUNS = 3


def median_s(run: Callable[[], object]) -> float:
    """The median seconds of a run, after one to warm up, over three runs and three seconds at least."""
    run()
    taken_s: list[float] = []
    while len(taken_s) < MIN_RUNS or sum(taken_s) < MIN_S:
        taken_s.append(_seconds(run))
    return statistics.median(taken_s)


def medians_in_turn_s(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The median seconds of each, after one to warm up; all run once before any runs again."""
    taken_s: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            seconds = _seconds(run)
            if turn:
                taken_s[name].append(seconds)
    return {name: statistics.median(seconds) for name, seconds in taken_s.items()}


def _seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started
