"""Features of a set of videos on disk: job by job as they are extracted, then whole, so that a killed run goes on."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from storage.local.home import home
from tasks.evaluation.features import FEATURES_VERSION, Reading, VideoFeatures, load_features, save_features
from tasks.evaluation.networks import Networks


def cache_root() -> Path:
    """Returns the folder of all sets, which are kept by digest."""
    return home() / "evaluation" / "measured"


class FeatureCache:
    """The features of the videos of a digest, read in one way by the same networks; `kind` begins the folder's name."""

    def __init__(self, kind: str, digest: str, reading: Reading, networks: Networks) -> None:
        what = json.dumps([FEATURES_VERSION, digest, str(reading), networks.digest()])
        self.folder = cache_root() / f"{kind}{hashlib.blake2b(what.encode(), digest_size=16).hexdigest()}"

    @property
    def is_whole(self) -> bool:
        """Whether all of it has been measured."""
        return self._whole.is_file()

    def missing(self, jobs: Iterable[int]) -> list[int]:
        """Returns those of the jobs that have to be done."""
        return [job for job in jobs if not self._part(job).is_file()]

    def keep(self, job: int, features: VideoFeatures | None, about: Mapping[str, Any] | None = None) -> None:
        """Writes the features that a job has found, if any, and plain values about them."""
        save_features(self._part(job), features, about or {})

    def part(self, job: int) -> tuple[VideoFeatures | None, dict[str, Any]]:
        """Reads what was kept of a job."""
        return load_features(self._part(job))

    def join(self, jobs: Iterable[int]) -> VideoFeatures:
        """Returns the features of all these jobs, in their order."""
        parts = [self.part(job)[0] for job in jobs]
        return VideoFeatures.join([part for part in parts if part is not None])

    def finish(self, features: VideoFeatures, about: Mapping[str, Any] | None = None) -> None:
        """Writes the whole set; the parts are no longer needed."""
        save_features(self._whole, features, about or {})

    def whole(self) -> tuple[VideoFeatures, dict[str, Any]]:
        """Reads what `finish` was given, in whichever run."""
        # After a crash in `finish` the parts are found again here, beside what they became.
        shutil.rmtree(self.folder / "parts", ignore_errors=True)
        features, about = load_features(self._whole)
        assert features is not None
        return features, about

    @property
    def _whole(self) -> Path:
        return self.folder / "measures.npz"

    def _part(self, job: int) -> Path:
        return self.folder / "parts" / f"{job:08d}.npz"
