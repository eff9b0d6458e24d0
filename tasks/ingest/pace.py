"""How many clips the models are given at once, and how far a build is: so that its first clips are seen soon.

The number is chosen before the first clip, by the time that one takes, and noted in the dataset's folder, where a build
that was cut off finds it. Rows do not depend on it (`tasks.passes`); what does is when they are seen, and committed.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path

from storage.errors import StorageError
from storage.local.json_files import read_json, write_json

BATCH_S = 30.0
"""What a batch takes at most, unless a single clip takes longer."""

PACE_FILE = "pace.json"


@dataclass(frozen=True)
class Pace:
    """A choice and what it was made for: the device, the models' digests, and the seconds that a clip took there."""

    device: str
    models: list[str]
    clip_s: float
    batch_clips: int


def batch_clips(clip_s: float, at_once: int, most: int) -> int:
    """Gives the clips of a batch: at most `most`, of which `at_once` are done side by side, as `BATCH_S` allow."""
    turns = max(1, int(BATCH_S / max(clip_s, 1e-6)))
    return min(most, turns * at_once)


def noted_pace(dataset_dir: Path) -> Pace | None:
    """Reads what an earlier build noted, None where it is nothing that can be used: it is measured in no time."""
    try:
        noted = read_json(dataset_dir / PACE_FILE)
        pace = Pace(**noted) if noted else None
    except (StorageError, TypeError):
        return None
    return pace if pace is not None and isinstance(pace.batch_clips, int) and pace.batch_clips > 0 else None


def note_pace(dataset_dir: Path, pace: Pace) -> None:
    """Notes it for the builds to come."""
    write_json(dataset_dir / PACE_FILE, asdict(pace))


class Progress:
    """What of a build's clips was read, scored and encoded, as a few words with the rate."""

    def __init__(self) -> None:
        self.read = self.scored = self.encoded = 0
        self._since_s: float | None = None

    def add(self, read: int = 0, scored: int = 0, encoded: int = 0) -> None:
        """Counts clips, the time from the first one on."""
        self._since_s = self._since_s or time.monotonic()
        self.read += read
        self.scored += scored
        self.encoded += encoded

    def note(self) -> str:
        """Says how many, and how many are scored in a second or a minute."""
        if self._since_s is None:
            return "the models are loaded and timed"
        rate = self.scored / max(time.monotonic() - self._since_s, 1e-3)
        pace = f"{rate:.1f} a second" if rate >= 1 else f"{60 * rate:.1f} a minute"
        return f"clips: {self.read} read, {self.scored} scored ({pace}), {self.encoded} encoded"
