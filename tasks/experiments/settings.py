"""How large the experiments are; what a variant is lies in `experiments.py`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class AblationSettings(BaseModel):
    """Sizes of the experiments; the defaults are for the profile `tiny`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    num_videos: int = Field(40, ge=4, description="videos of a variant, each of a caption of its own")
    num_clips: int = Field(3, ge=3, description="their length in clips of N frames")
    lengths: tuple[int, ...] = Field((1, 2, 4, 8, 16, 32, 50), description="clips, for the experiment length")
    length_videos: int = Field(4, ge=2, description="videos of each of those lengths")
    time_limit_s: float = Field(
        900.0, gt=0, description="a longer video is not tried where it would take longer than this"
    )
