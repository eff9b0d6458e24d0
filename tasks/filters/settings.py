"""What a clip must measure to be kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

# Column, its least and its greatest setting. What is known before any model has run comes first: a row in which
# the rest is still None is rejected for the same reason as the whole row.
_RULES: tuple[tuple[str, str | None, str | None], ...] = (
    ("source_side", "min_source_side_px", None),
    ("source_duration", "min_source_duration_s", None),
    ("brightness", "min_brightness", None),
    ("frozen", None, "max_frozen"),
    ("motion", "min_motion", "max_motion"),
    ("jump", None, "max_jump"),
    ("clip_score", "clip_threshold", None),
    ("clip_score_min", "clip_min_threshold", None),
    ("aesthetic", "min_aesthetic", None),
)
_MOTION_COLUMNS = {"frozen", "motion", "jump"}

REASONS = tuple(column for column, _, _ in _RULES)
"""Every reason, in the order in which the filters are tried: the first that fails is the reason."""


class FilterSettings(BaseModel):
    """Settings of the filter stage; None switches a filter off.

    The measures of frames are those of `tasks.filters.signals.ClipSignals`, where each is argued for.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    clip_threshold: float = Field(
        0.25, ge=-1, le=1, description="mean cosine of caption and frames, at least; lower ones are rejected"
    )
    clip_min_threshold: float | None = Field(
        None, ge=-1, le=1, description="cosine of the caption and the frame that fits it least, at least"
    )
    min_motion: float | None = Field(
        None, ge=0, le=255, description="change from frame to frame in grey levels, at least: no still videos"
    )
    max_motion: float | None = Field(
        None, ge=0, le=255, description="change from frame to frame in grey levels, at most: no flicker"
    )
    max_jump: float | None = Field(
        None, ge=1, description="largest change as a multiple of the median one, at most: no cut, no flash"
    )
    min_brightness: float | None = Field(
        None, ge=0, le=255, description="luma of each frame's brightest twentieth, at least: no black clips"
    )
    max_frozen: float | None = Field(
        None, ge=0, le=1, description="share of steps between frames that change nothing, at most"
    )
    min_source_side_px: int | None = Field(None, ge=1, description="shorter side of the source, at least")
    min_source_duration_s: float | None = Field(None, ge=0, description="length of the source, at least")
    min_aesthetic: float | None = Field(
        None, description="score of the aesthetic head, at least; needs such a head"
    )
    duplicates: Literal["off", "perceptual", "clip"] = Field(
        "off",
        description="near-duplicates of clips of other sources: kept, found by pixels, or by CLIP features",
    )
    max_duplicate_distance: float = Field(
        3.0,
        ge=0,
        le=255,
        description="perceptual: mean difference of two fingerprints in grey levels, at most",
    )
    min_duplicate_cosine: float = Field(
        0.97, gt=0, le=1, description="clip: cosine of two clips' mean CLIP features, at least"
    )

    @model_validator(mode="after")
    def _motion_has_room(self) -> Self:
        if self.min_motion is not None and self.max_motion is not None and self.min_motion > self.max_motion:
            raise ValueError("min_motion must not exceed max_motion")
        return self

    def reject_reason(self, row: Mapping[str, Any]) -> str | None:
        """Gives the column that failed first, in the order of `REASONS`, or None when the clip is kept.

        Read are `kind` and the columns of filters that are on. A value of None never rejects: an image has no
        duration, and what is not known yet decides nothing. NaN always does. The filters of motion leave images
        alone: a pseudo-video moves as we drew it, which says nothing of its source.
        """
        for column, least_key, most_key in _RULES:
            least = None if least_key is None else getattr(self, least_key)
            most = None if most_key is None else getattr(self, most_key)
            if least is None and most is None:
                continue
            if column in _MOTION_COLUMNS and row["kind"] == "images":
                continue
            value = row[column]
            if value is None:
                continue
            if (least is not None and not value >= least) or (most is not None and not value <= most):
                return column
        return None
