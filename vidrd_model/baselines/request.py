"""What the baselines are asked for: the videos' texts, seeds and sizes, in the words of `VidRDPipeline.stream`."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from vidrd_model.errors import ModelError
from vidrd_model.noise import clip_noise, progressive_noise
from vidrd_model.pipeline import Prompt, VidRDPipeline, stories_and_seeds
from vidrd_model.sampling import SamplingOptions, Stepper


class VideoRequest:
    """A batch of videos of `num_clips` times `num_frames` frames; windows of N frames share `prompt_frames` M.

    The settings are those of `VidRDPipeline.stream`. Raises ModelError for those that do not fit; a window needs at
    least one frame of its own.
    """

    def __init__(
        self,
        pipe: VidRDPipeline,
        prompt: str | Sequence[Prompt],
        num_clips: int,
        *,
        num_frames: int = 8,
        seed: int | Sequence[int] = 0,
        num_inference_steps: int = 50,
        guidance_scale: float = 7.5,
        negative_prompt: str = "",
        prompt_frames: int = 4,
        eta: float = 0.0,
        noise_alpha: float = 0.0,
        height: int | None = None,
        width: int | None = None,
    ):
        if not 0 <= prompt_frames < num_frames:
            raise ModelError(f"prompt_frames must lie in 0..{num_frames - 1}, not {prompt_frames}")
        self.pipe, self.num_clips, self.num_frames = pipe, num_clips, num_frames
        self.shared_frames, self.noise_alpha = prompt_frames, noise_alpha
        self.stories, self.seeds = stories_and_seeds(prompt, seed)
        self.shape_cnhw = pipe.latent_shape(num_frames, height, width)
        # prompt_frames=0: VidRD's own schedule guides nothing, so the scheduler treats all frames alike.
        self.options = SamplingOptions(num_inference_steps, guidance_scale, prompt_frames=0, eta=eta)
        self.options.check(num_frames)
        self.negative_text_btd = pipe.encode_prompt([negative_prompt] * len(self.stories))

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

    def prompts(self, frame: int) -> list[str]:
        """Each video's text at a frame of it: that of its `frame // N`-th clip, of which the last one stays."""
        clip = frame // self.num_frames
        return [story[min(clip, len(story) - 1)] for story in self.stories]

    def noise(self, prompts: Sequence[str], clip: int) -> torch.Tensor:
        """Unit-variance noise b c N h w of one clip, as VidRD's own loop draws it."""
        drawn_bcnhw = clip_noise(self.seeds, prompts, clip, self.shape_cnhw)
        deviation = self.pipe.config.noise_deviation
        return progressive_noise(drawn_bcnhw, self.noise_alpha, deviation).to(self.device)
