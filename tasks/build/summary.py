"""What a build counted."""

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from storage.writer import DatasetWriter
    from tasks.build.pipeline import FinishedSource


@dataclass
class BuildSummary:
    """Counts of one run, then of the whole dataset after it.

    `seconds` has one entry per stage, summed over all workers, and `wall`; so they need not add up.
    """

    read: int = 0
    skipped: int = 0
    clips: int = 0
    kept: int = 0
    kept_by_kind: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    quarantined: int = 0
    quarantined_by_stage: Counter[str] = field(default_factory=Counter)
    encoded: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    dataset_clips: int = 0
    dataset_rejected: int = 0
    dataset_quarantined: int = 0
    tag: str | None = None
    version: int | None = None

    def count(self, finished: "FinishedSource") -> None:
        """Add a finished source."""
        kept, rejected = len(finished.kept), len(finished.rejected)
        self.clips += kept + rejected
        self.kept += kept
        if kept:
            self.kept_by_kind[finished.source.kind] += kept
        self.rejected.update(finished.reject_reasons)
        if finished.failure is not None:
            self.quarantined += 1
            self.quarantined_by_stage[finished.failure.stage] += 1

    def count_dataset(self, writer: "DatasetWriter") -> None:
        """Take the counts of the whole dataset."""
        self.dataset_clips = writer.count("clips")
        self.dataset_rejected = writer.count("rejected")
        self.dataset_quarantined = writer.count("quarantine")

    def as_dict(self) -> dict[str, Any]:
        """The same as plain JSON, seconds rounded to hundredths."""
        values = dict(vars(self))
        values["seconds"] = {stage: round(value, 2) for stage, value in self.seconds.items()}
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in values.items()}

    def note(self) -> str:
        """A few words for a progress line."""
        rejected = sum(self.rejected.values())
        return f"{self.kept} clips kept, {rejected} rejected, {self.quarantined} sources quarantined"
