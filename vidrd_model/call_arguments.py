"""What a call of the pipeline asks for: its arguments as one typed message, which says what they mean together.

The fields are the arguments of `VidRDPipeline.invert` and `stream`, with their defaults; there each is explained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from vidrd_model.arguments import lora_scale
from vidrd_model.call_settings import CallSettings
from vidrd_model.callbacks import Callback
from vidrd_model.continuing import Inversion
from vidrd_model.errors import ModelError
from vidrd_model.outputs import OutputType
from vidrd_model.prompts import Prompt
from vidrd_model.sampling_options import DEFAULT_STRENGTH
from vidrd_model.video_batch import Generators, VideoBatch, video_batch

_SETTINGS = {field.name for field in fields(CallSettings)}


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipArguments:
    """Which videos are meant, in which sizes and steps: what a clip that is inverted needs as well."""

    prompt: Prompt | Sequence[Prompt] | None = None
    num_frames: int | None = None
    height: int | None = None
    width: int | None = None
    num_inference_steps: int | None = None
    timesteps: Sequence[float] | None = None
    num_videos_per_prompt: int = 1
    seed: int | Sequence[int] | None = None
    generator: Generators | None = None
    prompt_embeds: torch.Tensor | None = None
    clip_skip: int | None = None
    attention_kwargs: Mapping[str, Any] | None = None

    def batch(self) -> VideoBatch:
        """The videos, each with its texts and its seed; a generator is drawn from. ModelError for what does not fit."""
        return video_batch(
            self.prompt, self.prompt_embeds, self.seed, self.generator, self.num_videos_per_prompt
        )

    def settings(self, saved: Mapping[str, Any]) -> CallSettings:
        """How is sampled: what is given here, else what is saved with the model, else as published."""
        return CallSettings.of(
            saved, **{name: value for name, value in vars(self).items() if name in _SETTINGS}
        )

    def lora_scale(self) -> float:
        """How much LoRA layers count; ModelError for attention_kwargs that are not theirs."""
        return lora_scale(self.attention_kwargs)


@dataclass(frozen=True, kw_only=True, eq=False)
class CallArguments(ClipArguments):
    """Everything that `VidRDPipeline.stream` takes."""

    num_clips: int = 1
    clips_at_once: int | None = None
    first_window: int | None = None
    sigmas: Sequence[float] | None = None
    guidance_scale: float | None = None
    guidance_rescale: float | None = None
    guidance_start: float | None = None
    guidance_stop: float | None = None
    cache_interval: int | None = None
    negative_prompt: str | Sequence[str] | None = None
    latents: torch.Tensor | None = None
    after: Inversion | None = None
    loop: bool = False
    video: Any = None
    strength: float | None = None
    negative_prompt_embeds: torch.Tensor | None = None
    prompt_frames: int | None = None
    alpha: float | None = None
    beta: float | None = None
    eta: float | None = None
    noise_alpha: float | None = None
    seam: str | None = None
    output_type: OutputType = "np"
    callback_on_step_end: Callback | None = None
    callback_on_step_end_tensor_inputs: Sequence[str] = ("latents", "clip")

    def __post_init__(self) -> None:
        if self.num_clips < 1:
            raise ModelError(f"num_clips must be at least 1, not {self.num_clips}")
        if self.latents is not None and self.latents.ndim != 5:
            raise ModelError(f"latents must be b c n h w, not {tuple(self.latents.shape)}")
        if self.latents is not None and self.after is not None:
            raise ModelError("give either latents or after, not both: the inverted clip has the first noise")
        self._check_video()
        if self.loop and self.num_clips < 2:
            raise ModelError(
                f"a loop needs at least 2 clips, of which the last leads to the first, not {self.num_clips}"
            )
        if self.loop and self.after is not None:
            raise ModelError(
                "give either loop or after, not both: a loop ends where it begins, after no other clip"
            )
        if self.negative_prompt is not None and self.negative_prompt_embeds is not None:
            raise ModelError("give either negative_prompt or negative_prompt_embeds, not both")

    @property
    def edit_strength(self) -> float | None:
        """How much a given video is changed; None without one."""
        if self.video is None:
            return None
        return DEFAULT_STRENGTH if self.strength is None else self.strength

    def shown_seam(self, saved: str) -> str:
        """How clips are joined where this call, or else the model, says so."""
        if self.video is not None:
            return "drop-prompt-frames"  # those that the clip before has shown already
        return "keep" if self.output_type == "latent" else self.seam or saved

    def _check_video(self) -> None:
        if self.video is None:
            if self.strength is not None:
                raise ModelError("strength is of a video that is edited: give video, its frames")
            return
        if self.num_clips != 1:
            raise ModelError(
                "give either video or num_clips, not both: the video's frames say how many clips"
            )
        for name in ("latents", "after", "loop", "seam"):
            if not (getattr(self, name) is None or getattr(self, name) is False):
                raise ModelError(
                    f"give either video or {name}, not both: the given frames say what comes where"
                )

    def sized_by_latents(self, pixels_per_latent: int) -> CallArguments:
        """The same; sizes that are not given are those of given latents."""
        if self.latents is None:
            return self
        n, h, w = self.latents.shape[2:]
        return replace(
            self,
            num_frames=self.num_frames or n,
            height=self.height or h * pixels_per_latent,
            width=self.width or w * pixels_per_latent,
        )
