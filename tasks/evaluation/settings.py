"""How a model is evaluated: the protocol, how many videos, and the gate for promotion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tasks.errors import RequestError


@dataclass(frozen=True)
class Protocol:
    """What is shown to the networks of each video; numbers of unlike protocols are never compared."""

    name: str
    num_frames: int
    frame_repeats: int
    about: str


_PROTOCOLS = (
    Protocol("tiny", 8, 2, "8 frames, each shown twice to I3D; comparable with no published number"),
    Protocol("quick", 16, 1, "16 frames of any number of videos; a check on the way, no published protocol"),
)
# Their reference sets and counts come with the UCF-101 reader; until then they are refused by name.
_NOT_YET = ("fvd2048-16f", "vidrd-paper")


def find_protocol(name: str) -> Protocol:
    """The protocol of that name; RequestError for any other, and for those that cannot be run yet."""
    for protocol in _PROTOCOLS:
        if protocol.name == name:
            return protocol
    usable = " or ".join(protocol.name for protocol in _PROTOCOLS)
    if name in _NOT_YET:
        raise RequestError(f"protocol: {name} cannot be run yet (it needs the UCF-101 reader); use {usable}")
    raise RequestError(f"protocol: {name!r} is unknown; use {usable}")


class GateSettings(BaseModel):
    """What a candidate must show to become champion; recorded with every evaluation.

    Every candidate must clear the floors. Beside a champion it must also lower `fvd` without losing more than
    `text_score_margin` of text agreement, or raise `text_score` where the two have no common `fvd`. Cosines of
    unlike CLIP models lie on unlike scales, so both bounds are shares of what the real clips score.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    text_score_share: float = Field(
        0.7, ge=0, le=1, description="least text_score, as a share of what the real reference clips score"
    )
    seam_ceiling: float = Field(3.0, gt=1, description="largest mean step at a seam, over the usual step")
    text_score_margin: float = Field(
        0.03, ge=0, le=1, description="the fall of text_score that a better fvd may cost, as such a share too"
    )


class EvaluationSettings(BaseModel):
    """Settings of one evaluation; the defaults are those of the profile `tiny`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    protocol: str = "tiny"
    num_videos: int = Field(40, ge=2, description="reference clips, and generated ones: one per caption")
    seed: int = Field(0, ge=0, lt=2**32, description="chooses reference files; video i has seed + i")
    width: int = Field(
        64, ge=8, description="pixels of the model's videos; reference clips are cropped to it"
    )
    height: int = Field(64, ge=8)
    seam_videos: int = Field(
        4, ge=0, description="how many of the videos are sampled longer, for their seams"
    )
    seam_clips: int = Field(3, ge=2, description="length of those, in clips")
    gate: GateSettings = GateSettings()

    @model_validator(mode="after")
    def _seam_videos_fit(self) -> Self:
        if self.seam_videos > self.num_videos:
            raise ValueError(f"seam_videos {self.seam_videos} is more than num_videos {self.num_videos}")
        return self
