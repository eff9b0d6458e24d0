"""What a clip must measure to be kept, and by which detector nudity is measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from storage.local.typed_fields import TypedText

# Column, its least and its greatest setting. What is known before any model has run comes first: a row in which
# the rest is still None is rejected for the same reason as the whole row.
_RULES: tuple[tuple[str, str | None, str | None], ...] = (
    ("source_side", "min_source_side_px", None),
    ("source_duration", "min_source_duration_s", None),
    ("interlaced", None, "max_interlaced"),
    ("picture", "min_picture", None),
    ("brightness", "min_brightness", None),
    ("frozen", None, "max_frozen"),
    ("motion", "min_motion", "max_motion"),
    ("jump", None, "max_jump"),
    ("text_area", None, "max_text_area"),
    ("held_text_area", None, "max_held_text_area"),
    ("nudity", None, "max_nudity"),
    ("clip_score", "clip_threshold", None),
    ("clip_score_min", "clip_min_threshold", None),
    ("aesthetic", "min_aesthetic", None),
)
_MOTION_COLUMNS = {"frozen", "motion", "jump", "held_text_area"}
NUDENET = "nudenet"

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
    max_text_area: float | None = Field(
        None, ge=0, le=1, description="share of a frame under text boxes, at most; needs the extra `filters`"
    )
    max_held_text_area: float | None = Field(
        None, ge=0, le=1, description="the same of text that stays where it is: subtitles, watermarks, logos"
    )
    max_nudity: float | None = Field(
        None,
        ge=0,
        le=1,
        description="score of the detector in [nudity], at most; none comes with the project",
    )
    max_interlaced: float | None = Field(
        None, ge=0, le=1, description="share of the source's frames that were two fields each, at most"
    )
    min_picture: float | None = Field(
        None, ge=0, le=1, description="share of the frame that is no black bar, at least"
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


class NuditySettings(BaseModel):
    """Settings of the detector of nudity, an image classifier of the user's; its threshold is `max_nudity`.

    The score of a frame is the sum of the labels' probabilities where the classes exclude each other (softmax), else
    the largest of them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    model: TypedText | None = Field(
        None,
        description="an ONNX file, a folder or hub id of transformers, or `nudenet`, which you install yourself",
    )
    licence: str | None = Field(
        None, min_length=1, description="the model's, as its page says; shown by builds and `dataset info`"
    )
    labels: tuple[str, ...] = Field(
        (), description="those that count as nudity, by name; of an ONNX file by number, from 0"
    )
    mean: tuple[float, float, float] = Field(
        (0.0, 0.0, 0.0), description="of an ONNX file: subtracted from RGB in 0..1"
    )
    std: tuple[float, float, float] = Field(
        (1.0, 1.0, 1.0), description="of an ONNX file: divides what is left"
    )
    activation: Literal["softmax", "sigmoid", "none"] = Field(
        "softmax", description="of an ONNX file: what makes probabilities of its outputs"
    )

    @model_validator(mode="after")
    def _model_is_described(self) -> Self:
        if self.model is None or self.model == NUDENET:
            return self
        if self.licence is None:
            raise ValueError("licence is missing: say which one the model has")
        if not self.labels:
            raise ValueError("labels are missing: say which of the model's classes are nudity")
        if self.model.endswith(".onnx") and not all(label.isdecimal() for label in self.labels):
            raise ValueError("labels of an ONNX file are numbers, from 0: it has no names for its classes")
        if not all(self.std):
            raise ValueError("std must not be 0")
        return self

    @property
    def licence_shown(self) -> str | None:
        """The licence of the model, where one is set."""
        return "AGPL-3.0" if self.model == NUDENET else self.licence
