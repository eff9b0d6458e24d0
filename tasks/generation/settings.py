"""How videos are sampled: one typed record that profiles, flows and the evaluation share."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class SamplingSettings(BaseModel):
    """The sampler's knobs with the authors' published defaults (arXiv 2309.03549); sizes are in pixels."""

    model_config = ConfigDict(extra="forbid")

    num_frames: int = Field(8, ge=2, description="frames of one clip (N)")
    fps: float = Field(8.0, gt=0, description="frame rate written into the video file")
    width: int | None = Field(None, ge=8, multiple_of=8, description="none: the model's own size")
    height: int | None = Field(None, ge=8, multiple_of=8, description="none: the model's own size")
    num_inference_steps: int = Field(50, ge=1)
    guidance_scale: float = Field(7.5, ge=0)
    negative_prompt: str = ""
    prompt_frames: int = Field(4, ge=0, description="frames guided by the previous clip (M)")
    alpha: float = Field(4.0, ge=0, description="weight of the previous clip's noise; inf is pure reversion")
    beta: float = Field(0.4, ge=0, le=1, description="share of the steps that guide the prompt frames")
    prompts_per_batch: int = Field(
        4, ge=1, description="fixed, so that a video does not depend on how many workers share the work"
    )

    @model_validator(mode="after")
    def _prompt_frames_fit(self) -> Self:
        if self.prompt_frames > self.num_frames:
            raise ValueError(f"prompt_frames {self.prompt_frames} is more than num_frames {self.num_frames}")
        return self

    def pipeline_arguments(self) -> dict:
        """Returns the keyword arguments of VidRDPipeline that these settings fix."""
        return self.model_dump(exclude={"fps", "prompts_per_batch"})
