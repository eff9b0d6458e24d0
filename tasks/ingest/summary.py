"""What a build counted."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from storage.dataset.writer import DatasetWriter
    from tasks.ingest.pipeline import FinishedSource
    from tasks.ingest.reconcile import Reconciled


@dataclass(frozen=True)
class ProfileUsed:
    """The profile of a build, as later commands are told of it: name, what reads it again, changes and content.

    `source` is its name, or the path of its file; `changes` were set over that.
    """

    name: str
    source: str | None = None
    changes: Mapping[str, Any] | None = None
    content: Mapping[str, Any] | None = None


@dataclass
class BuildSummary:
    """Counts of one run, then of the whole dataset after it.

    `seconds` has one entry per stage, the work of all workers, and `wall`, the time that passed. `unavailable` are
    rows that should have been scored or encoded anew and could not be, by clip_id. `filter` are the thresholds that
    were applied, `thresholds_set` those of them that were set on this dataset; `settled_for` is what the rows were last
    reconciled with: thresholds and the models' digests. `cut_captions` are the clips whose caption a tokenizer cuts, by
    what it is read for: conditioning counts kept clips, scoring all. `measured` are rows that lacked what a filter asks
    of a network; `nudity` is the detector in use, with its licence. The `profile` and what follows it is a ProfileUsed.
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
    rescored: int = 0
    measured: int = 0
    captioned: int = 0
    moved: int = 0
    unavailable: dict[str, str] = field(default_factory=dict)
    text_states: int = 0
    vanished: int = 0
    pruned: int = 0
    lost: int = 0
    unread: Counter[str] = field(default_factory=Counter)
    corpora: str | None = None
    profile: str | None = None
    profile_source: str | None = None
    profile_set: Mapping[str, Any] | None = None
    profile_content: Mapping[str, Any] | None = None
    filter: dict[str, Any] = field(default_factory=dict)
    thresholds_set: dict[str, Any] = field(default_factory=dict)
    settled_for: list[Any] | None = None
    cut_captions: dict[str, Any] | None = None
    nudity: dict[str, Any] | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    dataset_clips: int = 0
    dataset_rejected: int = 0
    dataset_quarantined: int = 0
    tag: str | None = None
    version: int | None = None

    def note_profile(self, used: ProfileUsed | None) -> None:
        """Puts on record which profile was used, if any is known."""
        if used is not None:
            self.profile, self.profile_source = used.name, used.source
            self.profile_set, self.profile_content = used.changes, used.content

    def count(self, finished: "FinishedSource", times: int = 1) -> None:
        """Adds a finished source, or with -1 takes it back."""
        kept, rejected = len(finished.kept), len(finished.rejected)
        self.clips += times * (kept + rejected)
        self.kept += times * kept
        self.encoded += times * finished.encoded
        if kept:
            self.kept_by_kind[finished.source.kind] += times * kept
        for reason, number in finished.reject_reasons.items():
            self.rejected[reason] += times * number
        if finished.failure is not None:
            self.quarantined += times
            self.quarantined_by_stage[finished.failure.stage] += times

    def take_reconciled(self, done: "Reconciled") -> None:
        """Adds what reconciling did."""
        self.rescored, self.measured, self.moved = done.rescored, done.measured, done.moved
        self.captioned = done.captioned
        self.encoded += done.encoded
        self.unavailable = done.failures

    def count_dataset(self, writer: "DatasetWriter") -> None:
        """Takes the counts of the whole dataset."""
        self.dataset_clips = writer.table("clips").count_rows()
        self.dataset_rejected = writer.table("rejected").count_rows()
        self.dataset_quarantined = writer.table("quarantine").count_rows()

    def as_dict(self) -> dict[str, Any]:
        """Gives the same as plain JSON, seconds rounded to hundredths."""
        values = dict(vars(self))
        values["seconds"] = {stage: round(value, 2) for stage, value in self.seconds.items()}
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in values.items()}

    def note(self) -> str:
        """Gives a few words for a progress line."""
        rejected = sum(self.rejected.values())
        return f"{self.kept} clips kept, {rejected} rejected, {self.quarantined} sources quarantined"
