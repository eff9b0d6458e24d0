"""How videos are sampled: one typed record that profiles, flows and the evaluation share."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vidrd_model.sampling_options import SamplingOptions

SCHEDULERS = {
    "ddim": "DDIMScheduler",
    "euler": "EulerDiscreteScheduler",
    "dpm++": "DPMSolverMultistepScheduler",
    "unipc": "UniPCMultistepScheduler",
}
"""Name in a profile -> class in diffusers; any other scheduler comes with a model's own folder."""


SchedulerName = Literal["ddim", "euler", "dpm++", "unipc"]
Spacing = Literal["leading", "trailing", "linspace"]

_LATER = ("clips_at_once", "guidance_start", "guidance_stop", "timestep_spacing", "cache_interval")
"""What earlier versions had no setting for: they sampled as its default does."""


class SamplingSettings(BaseModel):
    """The sampler's knobs with the authors' published defaults (arXiv 2309.03549); sizes are in pixels."""

    model_config = ConfigDict(extra="forbid")

    method: Literal["vidrd", "overlap", "freenoise"] = Field(
        "vidrd",
        description="how clips become a longer video; the others are baselines (vidrd_model/baselines)",
    )
    num_frames: int = Field(8, ge=2, description="frames of one clip (N)")
    fps: float = Field(8.0, gt=0, description="frame rate written into the video file")
    width: int | None = Field(None, ge=8, multiple_of=8, description="none: the model's own size")
    height: int | None = Field(None, ge=8, multiple_of=8, description="none: the model's own size")
    num_inference_steps: int = Field(50, ge=1)
    guidance_scale: float = Field(7.5, ge=0)
    guidance_start: float = Field(0.0, ge=0, lt=1, description="share of the steps before guidance begins")
    guidance_stop: float = Field(
        1.0,
        gt=0,
        le=1,
        description="share of the steps after which guidance has ended; the rest take half the time",
    )
    cache_interval: int = Field(
        1,
        ge=1,
        le=1000,
        description="one step in so many is computed whole, the others on its deep features; not quite the same video",
    )
    negative_prompt: str = ""
    prompt_frames: int = Field(4, ge=0, description="frames guided by the previous clip (M)")
    alpha: float = Field(4.0, ge=0, description="weight of the previous clip's noise; inf is pure reversion")
    beta: float = Field(0.4, ge=0, le=1, description="share of the steps that guide the prompt frames")
    eta: float = Field(0.0, ge=0, le=1, description="share of fresh noise in each step, for ddim")
    noise_alpha: float = Field(0.0, ge=0, description="how much noise neighbouring frames share (2305.10474)")
    # Of videos to look at; what measures seams asks for every frame itself.
    seam: Literal["keep", "drop-duplicate", "drop-prompt-frames", "crossfade"] = Field(
        "drop-duplicate", description="how clips are joined; keep shows every frame"
    )
    scheduler: SchedulerName | None = Field(None, description="none: the model's")
    timestep_spacing: Spacing | None = Field(
        None, description="which of the training's steps are run; none: the scheduler's, trailing for few"
    )
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    compile: bool = Field(False, description="torch.compile: minutes once, then faster steps on a GPU")
    prompts_per_batch: int = Field(
        4, ge=1, description="fixed, so that a video does not depend on how many workers share the work"
    )
    clips_at_once: int = Field(
        1,
        ge=1,
        description="clips of a video that take each step together: the same video, sooner where a clip fills no GPU",
    )

    @model_validator(mode="after")
    def _prompt_frames_fit(self) -> Self:
        if self.prompt_frames > self.num_frames:
            raise ValueError(f"prompt_frames {self.prompt_frames} is more than num_frames {self.num_frames}")
        if self.method != "vidrd" and self.prompt_frames == self.num_frames:
            raise ValueError(f"prompt_frames {self.prompt_frames} leaves {self.method} no new frames")
        if self.method != "vidrd" and self.clips_at_once > 1:
            raise ValueError(
                f"clips_at_once {self.clips_at_once}: {self.method} makes one clip after another"
            )
        if self.guidance_start >= self.guidance_stop:
            raise ValueError(
                f"guidance_start {self.guidance_start:g} must lie below guidance_stop {self.guidance_stop:g}"
            )
        if self.method != "vidrd" and (self.guidance_start, self.guidance_stop) != (0.0, 1.0):
            raise ValueError(f"guidance_start and guidance_stop: {self.method} guides every step")
        if self.method != "vidrd" and self.cache_interval > 1:
            raise ValueError(f"cache_interval {self.cache_interval}: {self.method} computes every step whole")
        return self

    @property
    def videos_at_once(self) -> int:
        """The videos of a batch, which has no more clips than `prompts_per_batch` unless one video alone has."""
        return max(1, self.prompts_per_batch // self.clips_at_once)

    @property
    def unet_passes(self) -> int:
        """How often the UNet sees a clip: twice in a step that guides; for schedulers of one pass a step."""
        steps, guided = self.num_inference_steps, self.guidance_scale != 1
        options = SamplingOptions(guidance_start=self.guidance_start, guidance_stop=self.guidance_stop)
        return steps + sum(guided and options.guides(step, steps) for step in range(steps))

    def identity(self) -> dict[str, Any]:
        """What tells the videos from others, in plain JSON, as versions wrote it that did not know all settings."""
        usual = {name for name in _LATER if getattr(self, name) == type(self).model_fields[name].default}
        return self.model_dump(mode="json", exclude=usual)

    def pipeline_arguments(self) -> dict:
        """Returns the keyword arguments that these settings fix, of VidRDPipeline or of the baseline's function."""
        others = {"method", "fps", "prompts_per_batch", "scheduler", "timestep_spacing", "dtype", "compile"}
        if self.method != "vidrd":
            # What only VidRD's own loop knows.
            others |= {
                "alpha",
                "beta",
                "seam",
                "clips_at_once",
                "guidance_start",
                "guidance_stop",
                "cache_interval",
            }
        return self.model_dump(exclude=others)


class FastSettings(BaseModel):
    """What sampling in a hurry changes of `[sampling]`; what is none stays as it is.

    The embedded profile's are measured (docs/experiments.md), a model of one's own may want others: `vidrd ablate
    --experiment steps` makes the table.
    """

    model_config = ConfigDict(extra="forbid")

    scheduler: SchedulerName | None = None
    timestep_spacing: Spacing | None = None
    num_inference_steps: int | None = Field(None, ge=1)
    guidance_start: float | None = Field(None, ge=0, lt=1)
    guidance_stop: float | None = Field(None, gt=0, le=1)
    cache_interval: int | None = Field(None, ge=1, le=1000)

    def changes(self) -> dict[str, Any]:
        """By the names of `[sampling]`; {} where a profile has no such section."""
        return self.model_dump(exclude_none=True)
