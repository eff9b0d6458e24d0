"""The report of an evaluation: every metric with its interval, the set-up, the real clips, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tasks.evaluation.features import Reading, VideoFeatures
from tasks.evaluation.metrics import ReportedMetric, reported_metrics, sliding_fvd
from tasks.evaluation.protocols import Protocol
from tasks.evaluation.reference import Reference
from tasks.evaluation.setup import EvaluationSetup


@dataclass(frozen=True)
class SlidingFvd:
    """The FVD of a window that slides over `n` long videos, `stride_frames` at a time."""

    n: int
    stride_frames: int
    values: list[float]

    @classmethod
    def of(
        cls, long: VideoFeatures | None, reference: VideoFeatures, protocol: Protocol, reading: Reading
    ) -> SlidingFvd | None:
        """Returns None without long videos or the weights of I3D."""
        values = [] if long is None else sliding_fvd(long, reference, protocol.ddof)
        return cls(len(long), reading.stride, values) if long is not None and values else None


@dataclass(frozen=True)
class ReferenceReport:
    """Which real clips there were, and their own metrics, which stand beside the generated ones."""

    folder: str
    digest: str
    n: int
    cached: bool
    unreadable: list[dict[str, str]]
    metrics: dict[str, ReportedMetric]

    @classmethod
    def of(cls, folder: Path, reference: Reference, protocol: Protocol) -> ReferenceReport:
        """Returns the report of these clips under a protocol."""
        return cls(
            str(folder),
            reference.digest,
            len(reference.prompts),
            reference.cached,
            reference.unreadable,
            reported_metrics(reference.features, None, protocol),
        )

    def as_dict(self) -> dict[str, Any]:
        """Returns plain values, as `report.json` has them."""
        plain = {name: metric.as_dict() for name, metric in self.metrics.items()}
        return {
            "folder": self.folder,
            "digest": self.digest,
            "n": self.n,
            "cached": self.cached,
            "unreadable": self.unreadable,
            "metrics": plain,
        }


@dataclass(frozen=True)
class SampleFile:
    """A video to look at, with the real clip of the same caption where there is one."""

    prompt: str | None
    seed: int | None
    file: str
    reference: str | None


@dataclass(frozen=True)
class FinishedVideos:
    """The folder of finished videos that was scored: `found` in it, `asked` for by the protocol or the request."""

    folder: str
    digest: str
    found: int
    asked: int
    frames: int
    captions: bool


@dataclass(frozen=True, kw_only=True)
class EvaluationReport:
    """The report of a model, or of finished videos (`videos`); `as_dict` is `report.json`.

    `unavailable` says of a metric why it is missing, `cut_prompts` how many prompts were read in part, `lineage`
    whether the reference was trained on. `model`, `model_version` and `sampling` (each setting's value and where it
    comes from) are of a model.
    """

    protocol: str
    about: str
    n: int
    seed: int
    fps: float
    setup: EvaluationSetup
    metrics: dict[str, ReportedMetric]
    fvd_over_time: SlidingFvd | None
    reference: ReferenceReport
    unavailable: dict[str, str]
    cut_prompts: dict[str, Any]
    samples: list[SampleFile]
    seconds: dict[str, float]
    lineage: str = ""
    videos: FinishedVideos | None = None
    model: str = ""
    model_version: int | None = None
    sampling: Mapping[str, Mapping[str, Any]] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Returns plain values, as `report.json` has them; a model and a folder each have keys of their own."""
        of_model = {"model": self.model, "model_version": self.model_version} if self.videos is None else {}
        of_folder = {} if self.videos is None else {"videos": asdict(self.videos)}
        sampled = {} if self.sampling is None else {"sampling": dict(self.sampling)}
        return {
            **of_model,
            "protocol": self.protocol,
            "about": self.about,
            "n": self.n,
            "seed": self.seed,
            "fps": self.fps,
            **of_folder,
            "setup": self.setup.as_dict(),
            "setup_digest": self.setup.digest(),
            "metrics": {name: metric.as_dict() for name, metric in self.metrics.items()},
            "fvd_over_time": None if self.fvd_over_time is None else asdict(self.fvd_over_time),
            "reference": self.reference.as_dict(),
            "unavailable": self.unavailable,
            "cut_prompts": self.cut_prompts,
            "samples": [asdict(sample) for sample in self.samples],
            "seconds": self.seconds,
            **sampled,
            "lineage": self.lineage,
        }


@dataclass(frozen=True)
class Evaluation:
    """A report and the features it was made of; two with the same set-up may be compared."""

    report: EvaluationReport
    features: VideoFeatures
    reference: VideoFeatures

    @property
    def setup_digest(self) -> str:
        """Stands for everything but the model."""
        return self.report.setup.digest()
