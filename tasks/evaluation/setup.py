"""The set-up of an evaluation: all that two of them must share before their metrics may be compared."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from tasks.evaluation.protocols import Protocol
from vidrd_model.metrics.i3d import RESIZE


@dataclass(frozen=True, kw_only=True)
class ProtocolSetup:
    """What a protocol fixes, with the frame rate and the counts it was used with.

    `stride` is of the file's frames, or of the instants at `fps`, which is that of the model or of the finished videos.
    """

    protocol: str
    num_frames: int
    frame_repeats: int
    stride: int = 1
    fps_rule: str
    fps: float
    resize: str = RESIZE
    position: str
    split: str
    prompts: str
    ddof: int
    is_splits: int
    num_videos: int
    num_reference: int

    @classmethod
    def of(cls, protocol: Protocol, fps: float, num_videos: int, num_reference: int) -> ProtocolSetup:
        """Returns a protocol's set-up for `num_videos` generated videos beside `num_reference` real clips."""
        return cls(
            protocol=protocol.name,
            num_frames=protocol.num_frames,
            frame_repeats=protocol.frame_repeats,
            fps_rule=protocol.fps,
            fps=fps,
            position=protocol.position,
            split=protocol.split,
            prompts=protocol.prompts,
            ddof=protocol.ddof,
            is_splits=protocol.is_splits,
            num_videos=num_videos,
            num_reference=num_reference,
        )


@dataclass(frozen=True, kw_only=True)
class EvaluationSetup:
    """The protocol's set-up, the size of the videos, and the digests of real clips, prompts and networks.

    How long a model's videos are is told by `long_videos`, `long_clips` and `clip_frames`, the length of finished ones
    by `frames_per_video`. How a model is sampled is its own and no part of it.
    """

    protocol: ProtocolSetup
    seed: int
    width: int
    height: int
    long_videos: int | None = None
    long_clips: int | None = None
    frames_per_video: int | None = None
    reference: str
    prompts_digest: str
    networks: str
    clip_frames: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Returns plain values, as reports have them; what does not apply is left out."""
        values = asdict(self)
        protocol = values.pop("protocol")
        return protocol | {name: value for name, value in values.items() if value is not None}

    def digest(self) -> str:
        """Returns the digest under which an evaluation's files are kept: equal for set-ups that may be compared."""
        return value_digest(self.as_dict())


def value_digest(value: Any) -> str:
    """Returns 16 hexadecimal digits of plain values, the same for equal ones."""
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=8).hexdigest()
