"""Which recorded evaluations may be compared: those of the same real clips, prompts, seeds, sizes and rates.

Each model is sampled at its own settings, as whoever uses it would: how many steps it takes, how it is guided and how
it reuses the clip before are part of the model. What differs is shown beside the metrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RecordedSetup:
    """How a recorded evaluation was taken: what must be the same to compare it, and how the model was sampled."""

    shared: Mapping[str, Any]
    sampled_with: Mapping[str, Any]

    @classmethod
    def from_report(cls, report: Mapping[str, Any]) -> RecordedSetup:
        """Reads it from a `report.json`, of this version or an earlier one.

        Earlier reports, of before models had settings of their own, name all of them in the set-up: only the frames of
        a clip must be the same.
        """
        setup = dict(report["setup"])
        earlier = setup.pop("sampling", None)
        if earlier is not None:
            setup["clip_frames"] = earlier["num_frames"]
        if "sampling" in report:
            sampled_with = {name: setting["value"] for name, setting in report["sampling"].items()}
        else:
            sampled_with = dict(earlier or {})
        return cls(setup, sampled_with)

    def comparable(self, other: RecordedSetup) -> bool:
        """Returns whether the metrics of both may be compared."""
        return self.shared == other.shared

    def differences(self, other: RecordedSetup) -> dict[str, tuple[Any, Any]]:
        """Returns the settings that both name with unlike values, each as (this one's, the other's)."""
        return {
            name: (mine, other.sampled_with[name])
            for name, mine in self.sampled_with.items()
            if name in other.sampled_with and not _same(mine, other.sampled_with[name])
        }


def _same(mine: Any, theirs: Any) -> bool:
    # Infinity is a number in older reports and a text in newer ones.
    return str(mine) == str(theirs) or mine == theirs
