"""What a clip must score to be kept."""

from pydantic import BaseModel, ConfigDict, Field


class FilterSettings(BaseModel):
    """Settings of the filter stage."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    clip_threshold: float = Field(
        0.25, ge=-1, le=1, description="mean cosine of caption and frames, at least; lower ones are rejected"
    )

    def reject_reason(self, clip_score: float) -> str | None:
        """Why a clip of this score is not kept; None when it is."""
        return "clip_score" if clip_score < self.clip_threshold else None
