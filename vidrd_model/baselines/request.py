"""What the baselines are asked for: the videos' texts, seeds and sizes, in the words of `VidRDPipeline.stream`."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import torch

from vidrd_model.call_settings import CallSettings
from vidrd_model.errors import ModelError
from vidrd_model.guidance import Predictor, TextGuidance
from vidrd_model.noise import clip_noise, progressive_noise
from vidrd_model.outputs import OutputType, check_output_type
from vidrd_model.pipeline import VidRDPipeline
from vidrd_model.prompts import Prompt, negative_texts, stories_and_seeds, warn_of_lost_words
from vidrd_model.stepper import Stepper

DECODED: Sequence[str] = ("np", "pil", "pt", "uint8")
"""The output types of the baselines: their clips' latents overlap, or are no clips."""


class VideoRequest:
    """A batch of videos of `num_clips` times `num_frames` frames; windows of N frames share `prompt_frames` M.

    The settings are those of `VidRDPipeline.stream`; the output type is any but `latent`. Raises ModelError for those
    that do not fit; a window needs at least one frame of its own.
    """

    def __init__(
        self,
        pipe: VidRDPipeline,
        prompt: str | Sequence[Prompt],
        num_clips: int,
        *,
        num_frames: int | None = None,
        seed: int | Sequence[int] = 0,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        negative_prompt: str | Sequence[str] | None = None,
        prompt_frames: int | None = None,
        eta: float | None = None,
        noise_alpha: float | None = None,
        height: int | None = None,
        width: int | None = None,
        output_type: OutputType = "np",
    ):
        check_output_type(output_type, DECODED)
        settings = CallSettings.of(
            pipe.config.sampling,
            num_frames=num_frames,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            negative_prompt=negative_prompt,
            prompt_frames=prompt_frames,
            eta=eta,
            noise_alpha=noise_alpha,
            height=height,
            width=width,
        )
        n, m = settings.num_frames, settings.prompt_frames
        if not 0 <= m < n:
            raise ModelError(f"prompt_frames must lie in 0..{n - 1}, not {m}")
        self.pipe, self.num_clips, self.num_frames, self.output_type = pipe, num_clips, n, output_type
        self.shared_frames, self.noise_alpha = m, settings.noise_alpha
        self.stories, self.seeds = stories_and_seeds(prompt, seed)
        negative = negative_texts(settings.negative_prompt, len(self.stories))
        self.shape_cnhw = pipe.latent_shape(n, settings.height, settings.width)
        # prompt_frames=0: VidRD's own schedule guides nothing, so the scheduler treats all frames alike.
        self.options = settings.options(pipe.config.full_prompt_noise, prompt_frames=0)
        self.options.check(n)
        warn_of_lost_words(pipe.tokenizer, self.stories, negative)
        self.negative_text_btd = pipe.encode_prompt(negative)

    @property
    def device(self) -> torch.device:
        """Where the UNet computes."""
        return self.pipe._execution_device

    @property
    def total_frames(self) -> int:
        """The length of a video."""
        return self.num_clips * self.num_frames

    def stepper(self, num_frames: int) -> Stepper:
        """The model's scheduler, started anew for so many frames."""
        return Stepper(self.pipe.scheduler, self.options, num_frames, self.device)

    def predictor(self, text_btd: torch.Tensor, negative_text_btd: torch.Tensor) -> Predictor:
        """The UNet's prediction with these texts."""
        scale = self.options.guidance_scale
        guidance = TextGuidance(text_btd, negative_text_btd, scale)
        return Predictor(self.pipe.unet, [guidance], device=self.device)

    def prompts(self, frame: int) -> list[str]:
        """Each video's text at a frame of it: that of its `frame // N`-th clip, of which the last one stays."""
        clip = frame // self.num_frames
        return [story[min(clip, len(story) - 1)] for story in self.stories]

    def noise(self, prompts: Sequence[str], clip: int) -> torch.Tensor:
        """Unit-variance noise b c N h w of one clip, as VidRD's own loop draws it."""
        drawn_bcnhw = clip_noise(self.seeds, prompts, clip, self.shape_cnhw)
        deviation = self.pipe.config.noise_deviation
        return progressive_noise(drawn_bcnhw, self.noise_alpha, deviation).to(self.device)


ARGUMENTS = list(inspect.signature(VideoRequest).parameters)
"""What a baseline takes."""
