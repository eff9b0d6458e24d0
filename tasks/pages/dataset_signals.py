"""Names what was measured of clips and their sources, with the settings of the filter that decide on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True)
class Measure:
    """Describes a value per clip: what it says, the columns it is read from and the filter's settings for it.

    `unit` is empty where the value has none.
    """

    name: str
    about: str
    columns: tuple[str, ...]
    settings: tuple[str, ...]
    least: float | None = None
    videos_only: bool = False
    combine: Callable[..., np.ndarray] | None = None
    unit: str = ""

    @property
    def axis(self) -> str:
        """The words along an axis of it, with the unit."""
        return f"{self.name}, {self.unit}" if self.unit else self.name

    def values(self, batch: pa.Table) -> np.ndarray:
        """Returns float64, NaN where there is none; of images nothing where it is of videos only."""
        values = self.row_values(batch)
        return values[~_is_image(batch)] if self.videos_only else values

    def row_values(self, batch: pa.Table) -> np.ndarray:
        """Returns float64 (rows,), NaN where there is none, or where it is of videos only and the row an image's."""
        columns = [_floats(batch, column) for column in self.columns]
        values = columns[0] if self.combine is None else self.combine(*columns)
        return np.where(_is_image(batch), np.nan, values) if self.videos_only else values

    def thresholds(self, settings: Mapping[str, Any]) -> dict[str, float]:
        """Returns the settings that are on, by name."""
        return {name: settings[name] for name in self.settings if isinstance(settings.get(name), int | float)}


MEASURES = (
    Measure(
        "CLIP score",
        "cosine of frames and caption, mean",
        ("clip_score",),
        ("clip_threshold",),
        unit="cosine",
    ),
    Measure(
        "CLIP score, worst frame",
        "cosine of the caption and the frame that fits it least",
        ("clip_score_min",),
        ("clip_min_threshold",),
        unit="cosine",
    ),
    Measure(
        "motion",
        "change from frame to frame, grey levels; videos only",
        ("motion",),
        ("min_motion", "max_motion"),
        0.0,
        videos_only=True,
        unit="grey levels",
    ),
    Measure(
        "jump",
        "largest change over the median one; videos only",
        ("jump",),
        ("max_jump",),
        0.0,
        videos_only=True,
        unit="over the median change",
    ),
    Measure(
        "frozen",
        "share of steps between frames that change nothing; videos only",
        ("frozen",),
        ("max_frozen",),
        0.0,
        videos_only=True,
        unit="share of steps",
    ),
    Measure(
        "brightness",
        "luma of the bright parts, 0 to 255",
        ("brightness",),
        ("min_brightness",),
        0.0,
        unit="luma, 0 to 255",
    ),
    Measure(
        "picture",
        "share of the frame between black bars",
        ("picture",),
        ("min_picture",),
        0.0,
        unit="share of the frame",
    ),
    Measure(
        "interlaced",
        "share of the source's frames that were two fields each; videos only",
        ("interlaced",),
        ("max_interlaced",),
        0.0,
        videos_only=True,
        unit="share of frames",
    ),
    Measure(
        "text",
        "share of a frame under text boxes, of the frame that has most",
        ("text_area",),
        ("max_text_area",),
        0.0,
        unit="share of the frame",
    ),
    Measure(
        "text that stays",
        "share under text boxes in all frames that were looked at; videos only",
        ("held_text_area",),
        ("max_held_text_area",),
        0.0,
        videos_only=True,
        unit="share of the frame",
    ),
    Measure("nudity", "score of the detector", ("nudity",), ("max_nudity",), 0.0, unit="score, 0 to 1"),
    Measure("aesthetic", "score of the aesthetic head", ("aesthetic",), ("min_aesthetic",)),
    Measure(
        "source side",
        "shorter side of the source, px",
        ("source_width", "source_height"),
        ("min_source_side_px",),
        0.0,
        combine=np.minimum,
        unit="px",
    ),
    Measure(
        "source duration",
        "length of the source, s; videos only",
        ("source_duration_s",),
        ("min_source_duration_s",),
        0.0,
        videos_only=True,
        unit="s",
    ),
)


def _floats(batch: pa.Table, column: str) -> np.ndarray:
    if column not in batch.column_names:
        return np.full(batch.num_rows, np.nan)
    return batch[column].cast(pa.float64()).to_numpy()


def _is_image(batch: pa.Table) -> np.ndarray:
    return pc.fill_null(pc.equal(batch["kind"], "images"), False).to_numpy()
