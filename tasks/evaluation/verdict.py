"""The gate's decision: one of three verdicts, the reason, and every metric that was compared."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from vidrd_model.metrics.intervals import Estimate

Verdict = Literal["promote", "refuse", "cannot-judge"]
"""`cannot-judge` keeps the champion as `refuse` does, but says nothing against the candidate: the measurement fails."""

Role = Literal["gate", "signature", "floor", "shown"]


@dataclass(frozen=True)
class MetricComparison:
    """One metric of both models and, where the bound hangs on it, of the real clips; `role` is what it decides."""

    name: str
    better: str
    role: Role
    candidate: Estimate
    champion: Estimate | None = None
    difference: Estimate | None = None
    real: Estimate | None = None
    passes: bool = True
    says: str = ""


@dataclass(frozen=True)
class Decision:
    """The verdict, its reason in one sentence, and the metrics behind it; none where they could not be compared."""

    verdict: Verdict
    reason: str
    comparisons: list[MetricComparison] = field(default_factory=list)

    @property
    def promote(self) -> bool:
        """Whether the candidate becomes champion."""
        return self.verdict == "promote"

    def as_dict(self) -> dict[str, Any]:
        """Returns plain values, as reports and pages take them."""
        return {
            "verdict": self.verdict,
            "reason": self.reason,
            "comparisons": [asdict(comparison) for comparison in self.comparisons],
        }


class CannotJudge(Exception):
    """The rows at hand allow no verdict; the message is the reason, one sentence."""
