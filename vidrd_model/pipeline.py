"""VidRDPipeline: text to video of any length, clip by clip, each clip reusing the one before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import DiffusionPipeline
from diffusers.utils import BaseOutput
from safetensors import SafetensorError

from vidrd_model.errors import ModelError
from vidrd_model.noise import clip_noise
from vidrd_model.reuse import guided_frames, guided_steps, next_noise, reverse_frames, staged_guidance
from vidrd_model.temporal_layers import fold_frames
from vidrd_model.unet import TemporalUNet

OnStep = Callable[[int, int, torch.Tensor], None]


@dataclass
class VidRDOutput(BaseOutput):
    """Generated videos: uint8 (b, frames, h, w, 3)."""

    frames: np.ndarray


class VidRDPipeline(DiffusionPipeline):
    """Samples videos with a TemporalUNet; whole clips are concatenated (quirk Q3), the temporal decoder runs.

    The VAE, text encoder and tokenizer may be None when only `sample_latents` is used.
    """

    _optional_components: ClassVar = ["vae", "text_encoder", "tokenizer"]
    model_cpu_offload_seq = "text_encoder->unet->vae"

    def __init__(
        self, unet: Any, scheduler: Any, vae: Any = None, text_encoder: Any = None, tokenizer: Any = None
    ):
        super().__init__()
        self.register_modules(
            unet=unet, scheduler=scheduler, vae=vae, text_encoder=text_encoder, tokenizer=tokenizer
        )

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **settings: Any) -> VidRDPipeline:
        """Loads a model folder or hub id, in float32 unless `dtype` says otherwise.

        Raises ModelError, naming the folder and the part, when it is no VidRD model.
        """
        folder = Path(pretrained_model_name_or_path)
        if folder.exists() and not (folder / "model_index.json").is_file():
            raise ModelError(f"{folder}: no model folder (model_index.json is missing)")
        if "torch_dtype" not in settings:  # the older name of `dtype` in diffusers
            settings.setdefault("dtype", torch.float32)
        settings.setdefault("use_safetensors", True)
        try:
            pipe = super().from_pretrained(pretrained_model_name_or_path, **settings)
        except (OSError, ValueError, TypeError, SafetensorError) as error:
            reason = str(error).strip().splitlines()
            raise ModelError(
                f"{folder}: no VidRD model ({reason[0] if reason else type(error).__name__})"
            ) from error
        if not isinstance(pipe.unet, TemporalUNet):
            raise ModelError(f"{folder}: its UNet is a {type(pipe.unet).__name__}, not a TemporalUNet")
        return pipe

    @torch.no_grad()
    def encode_prompt(self, prompts: Sequence[str]) -> torch.Tensor:
        """The text encoder's states of each prompt, (b, tokens, width)."""
        tokens = self.tokenizer(
            list(prompts),
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        return self.text_encoder(tokens.input_ids.to(self.text_encoder.device))[0]

    @torch.no_grad()
    def __call__(self, prompt: str | Sequence[str], num_clips: int = 1, **settings: Any) -> VidRDOutput:
        """Generates the videos of `prompt`; `settings` are those of `stream`."""
        return VidRDOutput(frames=np.concatenate(list(self.stream(prompt, num_clips, **settings)), axis=1))

    def stream(
        self,
        prompt: str | Sequence[str],
        num_clips: int = 1,
        *,
        num_frames: int = 8,
        seed: int | Sequence[int] = 0,
        num_inference_steps: int = 50,
        guidance_scale: float = 7.5,
        negative_prompt: str = "",
        prompt_frames: int = 4,
        alpha: float = 4.0,
        beta: float = 0.4,
        height: int | None = None,
        width: int | None = None,
        on_step: OnStep | None = None,
    ) -> Iterator[np.ndarray]:
        """Yields each clip's frames, uint8 (b, n, h, w, 3), as soon as they are decoded.

        One seed per prompt, or one for all: the noise depends on (seed, prompt, clip) alone. height and width are in
        pixels. See `sample_latents` for the rest.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        seeds = [seed] * len(prompts) if isinstance(seed, int) else list(seed)
        if len(seeds) != len(prompts):
            raise ModelError(f"{len(prompts)} prompts need as many seeds, got {len(seeds)}")
        shape = self._latent_shape(num_frames, height, width)
        clips = self.sample_latents(
            prompt_embeds=self.encode_prompt(prompts),
            negative_prompt_embeds=self.encode_prompt([negative_prompt] * len(prompts)),
            initial_noise=clip_noise(seeds, prompts, 0, shape),
            fresh_noise=(clip_noise(seeds, prompts, clip, shape) for clip in range(1, num_clips)),
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            prompt_frames=prompt_frames,
            alpha=alpha,
            beta=beta,
            on_step=on_step,
        )
        for latents_bcnhw in clips:
            yield self.decode_latents(latents_bcnhw)

    def sample_latents(
        self,
        *,
        prompt_embeds: torch.Tensor,
        negative_prompt_embeds: torch.Tensor | None = None,
        initial_noise: torch.Tensor,
        fresh_noise: Iterable[torch.Tensor] = (),
        num_inference_steps: int = 50,
        guidance_scale: float = 7.5,
        prompt_frames: int = 4,
        alpha: float = 4.0,
        beta: float = 0.4,
        on_step: OnStep | None = None,
    ) -> Iterator[torch.Tensor]:
        """Yields the latents of each clip, b c n h w, as soon as they are done.

        initial_noise: unit-variance noise of the first clip, b c n h w; fresh_noise: unit-variance noise of each
        later one. prompt_frames M, alpha and beta are the paper's. on_step(clip, step, latents) gets a copy of the
        latents that go into the step, before `scale_model_input`. Of the clip before only its noise and the guided
        frames are kept.
        """
        num_frames = initial_noise.shape[2]
        if not 0 <= prompt_frames <= num_frames:
            raise ModelError(
                f"prompt_frames must lie in 0..{num_frames}, the clip's frames, not {prompt_frames}"
            )
        if alpha < 0 or not 0 <= beta <= 1:
            raise ModelError(f"alpha must be at least 0 and beta in [0, 1], not alpha={alpha}, beta={beta}")
        text = prompt_embeds
        if guidance_scale != 1.0:
            if negative_prompt_embeds is None:
                raise ModelError("guidance needs negative_prompt_embeds; guidance_scale=1 turns it off")
            text = torch.cat([negative_prompt_embeds, prompt_embeds])

        steps_per_frame = guided_steps(prompt_frames, num_inference_steps, beta)
        noise = initial_noise.to(self.unet.device, self.unet.dtype)
        past: dict[int, torch.Tensor] = {}
        latents, past = self._clip(
            0, noise, past, steps_per_frame, text, num_inference_steps, guidance_scale, on_step
        )
        yield latents
        for clip, fresh in enumerate(fresh_noise, start=1):
            noise = next_noise(noise, fresh.to(noise), prompt_frames, alpha)
            latents, past = self._clip(
                clip, noise, past, steps_per_frame, text, num_inference_steps, guidance_scale, on_step
            )
            yield latents

    @torch.no_grad()
    def _clip(
        self,
        clip: int,
        noise_bcnhw: torch.Tensor,
        past: dict[int, torch.Tensor],
        steps_per_frame: list[int],
        text_btd: torch.Tensor,
        num_inference_steps: int,
        guidance_scale: float,
        on_step: OnStep | None,
    ) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
        """Denoises one clip; returns its latents and, by step, the reversed frames that guide the next clip."""
        # Set anew for each clip: multistep schedulers carry state, and some refuse a second pass (quirk Q6).
        self.scheduler.set_timesteps(num_inference_steps, device=noise_bcnhw.device)
        latents = noise_bcnhw * self.scheduler.init_noise_sigma
        kept: dict[int, torch.Tensor] = {}
        for step, timestep in enumerate(self.scheduler.timesteps):
            if step in past:
                latents = staged_guidance(latents, past[step])
            guided = guided_frames(steps_per_frame, step)
            if guided:
                kept[step] = reverse_frames(latents)[:, :, :guided].clone()
            if on_step is not None:
                on_step(clip, step, latents.clone())
            target = self._predict(latents, timestep, text_btd, guidance_scale)
            latents = self.scheduler.step(target, timestep, latents).prev_sample
        return latents, kept

    def _predict(
        self,
        latents_bcnhw: torch.Tensor,
        timestep: torch.Tensor,
        text_btd: torch.Tensor,
        guidance_scale: float,
    ) -> torch.Tensor:
        guided = guidance_scale != 1.0
        model_input = torch.cat([latents_bcnhw] * 2) if guided else latents_bcnhw
        model_input = self.scheduler.scale_model_input(model_input, timestep)
        target = self.unet(model_input, timestep, encoder_hidden_states=text_btd).sample
        if guided:
            without_text, with_text = target.chunk(2)
            target = without_text + guidance_scale * (with_text - without_text)
        return target

    @torch.no_grad()
    def decode_latents(self, latents_bcnhw: torch.Tensor) -> np.ndarray:
        """Decodes latents b c n h w to frames, uint8 (b, n, h, w, 3), with the temporal decoder layers running."""
        b, _, n = latents_bcnhw.shape[:3]
        folded = fold_frames(latents_bcnhw) / self.vae.config.scaling_factor
        images = self.vae.decode(folded.to(self.vae.dtype), num_frames=n).sample
        images = ((images.float() / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
        return images.unflatten(0, (b, n)).permute(0, 1, 3, 4, 2).cpu().numpy()

    def _latent_shape(
        self, num_frames: int, height: int | None, width: int | None
    ) -> tuple[int, int, int, int]:
        scale = 2 ** (len(self.vae.config.block_out_channels) - 1)
        default = self.unet.config.sample_size
        sizes = []
        for name, pixels in (("height", height), ("width", width)):
            if pixels is None and default is None:
                raise ModelError(f"the UNet's config names no sample_size: give {name} in pixels")
            if pixels is not None and pixels % scale:
                raise ModelError(f"{name} must be a multiple of {scale} pixels, not {pixels}")
            sizes.append(default if pixels is None else pixels // scale)
        return (self.unet.config.in_channels, num_frames, sizes[0], sizes[1])
