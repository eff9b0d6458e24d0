"""Which of the tests that may notice a fault are run: within a budget, near and fast ones first, some of every file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

BUDGET_S = 60.0
"""Seconds of tests, as recorded, that one fault is shown to."""

_FAR = 3.0
"""How many times its seconds a test seems to cost whose own file does not import the file with the fault."""


@dataclass(frozen=True)
class TimedTest:
    """A fast test by its node id, the seconds of its own call, and the fixtures that it shares with other tests."""

    name: str
    seconds: float
    on_ray: bool = False
    shared: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """The file that it stands in."""
        return self.name.split("::")[0]


@dataclass
class Choice:
    """Tests in the order in which they are run, and what they cost together."""

    fixtures_s: Mapping[str, float]
    tests: list[TimedTest] = field(default_factory=list)
    seconds: float = 0.0
    _paid: set[str] = field(default_factory=set)

    def add(self, tests: Iterable[TimedTest], near: Collection[str], budget_s: float = BUDGET_S) -> None:
        """Takes tests while they fit: the cheapest of every file, then the next of each.

        A hundred tests of one file look at much the same. `near` are the files of tests that count for what they cost.
        """

        def seeming_s(test: TimedTest) -> tuple[float, str]:
            alone_s = test.seconds + sum(self.fixtures_s.get(name, 0.0) for name in test.shared)
            return alone_s * (1.0 if test.file in near else _FAR), test.name

        by_file = defaultdict[str, list[TimedTest]](list)
        for test in sorted(set(tests) - set(self.tests), key=seeming_s):
            by_file[test.file].append(test)
        turns = [
            (turn, *seeming_s(test), test)
            for of_file in by_file.values()
            for turn, test in enumerate(of_file)
        ]
        for *_, test in sorted(turns, key=lambda turn: turn[:3]):
            unpaid = set(test.shared) - self._paid
            cost_s = test.seconds + sum(self.fixtures_s.get(name, 0.0) for name in unpaid)
            # The cheapest of all is run whatever it costs: a fault that nothing is shown to tells nothing.
            if not self.tests or self.seconds + cost_s <= budget_s:
                self.tests.append(test)
                self.seconds += cost_s
                self._paid |= unpaid
