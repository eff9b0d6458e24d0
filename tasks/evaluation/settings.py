"""How a model is evaluated: the protocol, how many videos, and the gate for promotion."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from storage.local.typed_fields import TypedPath


class GateSettings(BaseModel):
    """What a candidate must show to become champion; kept with every decision.

    Every candidate must clear the floors. Beside a champion it must also lower `fvd` (raise `text_score` where there is
    no I3D) by a difference whose interval excludes zero, and no failure signature, text agreement among them, may
    worsen beyond its margin and beyond chance. Cosines of unlike CLIP models lie on unlike scales, so the bounds of
    `text_score` and `text_contrast` are shares of what the real clips score. docs/evaluation.md has what junk and sound
    models measure beside each bound.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_videos: int = Field(8, ge=2, description="fewer videos, or fewer real clips, allow no verdict")
    text_score_share: float = Field(
        0.7,
        ge=0,
        le=1,
        description="least text_score and text_contrast, as a share of what the real reference clips score",
    )
    frozen_ceiling: float = Field(
        0.25, ge=0, le=1, description="largest frozen share, beyond that of the real reference clips"
    )
    cycling_ceiling: float = Field(
        0.85,
        ge=0,
        le=1,
        description="largest share of repeated frames, of three clips: longer videos repeat more",
    )
    seam_ceiling: float = Field(3.0, gt=1, description="largest mean step at a seam, over the usual step")
    fvd_ceiling: float = Field(
        2.0,
        gt=0,
        description="largest fvd, over the spread (trace of the covariance) of the real clips: 2 is what sets of one "
        "mean and one spread have that share nothing else",
    )
    text_score_margin: float = Field(
        0.03, ge=0, le=1, description="the fall of text_score that a better fvd may cost, as such a share too"
    )
    signature_margin: float = Field(
        0.02, ge=0, description="the rise of any other failure signature that it may cost, in its own unit"
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
    long_videos: int = Field(
        16, ge=0, description="how many of the videos are sampled longer, for seams and cycling"
    )
    long_clips: int = Field(3, ge=2, description="length of those, in clips")
    c3d_weights: TypedPath | None = Field(
        None, description="a C3D checkpoint trained on UCF-101, for the inception score"
    )
    gate: GateSettings = GateSettings()

    @model_validator(mode="after")
    def _long_videos_fit(self) -> Self:
        if self.long_videos > self.num_videos:
            raise ValueError(f"long_videos {self.long_videos} is more than num_videos {self.num_videos}")
        return self
