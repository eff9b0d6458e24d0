"""Measures of a set of videos on disk: job by job while they are taken, then whole, so that a killed run goes on."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from storage.local.home import home
from tasks.evaluation.features import MEASURES_VERSION, Measures, Reading, load_measures, save_measures
from tasks.evaluation.networks import Networks


def measured_root() -> Path:
    """Where measured sets are kept, by digest."""
    return home() / "evaluation" / "measured"


class KeptMeasures:
    """What is kept of the videos of a digest, read in one way by the same networks; `kind` begins the folder's name."""

    def __init__(self, kind: str, digest: str, reading: Reading, networks: Networks) -> None:
        what = json.dumps([MEASURES_VERSION, digest, str(reading), networks.digest()])
        self.folder = measured_root() / f"{kind}{hashlib.blake2b(what.encode(), digest_size=16).hexdigest()}"

    @property
    def is_whole(self) -> bool:
        """Whether all of it has been measured."""
        return self._whole.is_file()

    def missing(self, jobs: Iterable[int]) -> list[int]:
        """Those of the jobs that have to be done."""
        return [job for job in jobs if not self._part(job).is_file()]

    def keep(self, job: int, measures: Measures | None, about: Mapping[str, Any] | None = None) -> None:
        """What a job has measured, if anything, and what is to be said about it."""
        save_measures(self._part(job), measures, about or {})

    def part(self, job: int) -> tuple[Measures | None, dict[str, Any]]:
        """What was kept of a job."""
        return load_measures(self._part(job))

    def join(self, jobs: Iterable[int]) -> Measures:
        """The measures of all these jobs, in their order."""
        parts = [self.part(job)[0] for job in jobs]
        return Measures.join([part for part in parts if part is not None])

    def finish(self, measures: Measures, about: Mapping[str, Any] | None = None) -> None:
        """The whole set; the parts are no longer needed."""
        save_measures(self._whole, measures, about or {})

    def whole(self) -> tuple[Measures, dict[str, Any]]:
        """What `finish` was given, in whichever run."""
        # After a crash in `finish` the parts are found again here, beside what they became.
        shutil.rmtree(self.folder / "parts", ignore_errors=True)
        measures, about = load_measures(self._whole)
        assert measures is not None
        return measures, about

    @property
    def _whole(self) -> Path:
        return self.folder / "measures.npz"

    def _part(self, job: int) -> Path:
        return self.folder / "parts" / f"{job:08d}.npz"
