"""VidRDPipeline: text to video of any length, clip by clip, each clip reusing the one before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import DiffusionPipeline
from diffusers.utils import BaseOutput
from safetensors import SafetensorError

from vidrd_model.blocks import BLOCKS
from vidrd_model.compiling import compile_blocks
from vidrd_model.errors import ModelError
from vidrd_model.noise import clip_noise, progressive_noise, step_generators
from vidrd_model.sampling import Cancelled, ClipSampler, OnStepEnd, SamplingOptions
from vidrd_model.seams import SeamJoiner
from vidrd_model.temporal_layers import fold_frames
from vidrd_model.unet import TemporalUNet

Prompt = str | Sequence[str]
"""The text of one video: one for all its clips, or one for each (a story), of which the last one stays."""

Callback = Callable[[Any, int, Any, dict[str, Any]], dict[str, Any] | None]


@dataclass
class VidRDOutput(BaseOutput):
    """Generated videos: uint8 (b, frames, h, w, 3)."""

    frames: np.ndarray


class VidRDPipeline(DiffusionPipeline):
    """Samples videos with a TemporalUNet, any diffusers scheduler, and a VAE whose temporal decoder runs.

    Four settings are saved with the model, for what the authors' release does otherwise or is known for:
    `temporal_decoder` (off: its layers never run, quirk Q2), `seam` (how clips are joined, quirk Q3; see `SeamJoiner`),
    `full_prompt_noise` (quirk Q4; see `SamplingOptions`) and `noise_deviation` (quirk Q7; see `progressive_noise`).
    The VAE, text encoder and tokenizer may be None for work on latents alone.
    """

    _optional_components: ClassVar = ["vae", "text_encoder", "tokenizer"]
    model_cpu_offload_seq = "text_encoder->unet->vae"

    def __init__(
        self,
        unet: Any,
        scheduler: Any,
        vae: Any = None,
        text_encoder: Any = None,
        tokenizer: Any = None,
        temporal_decoder: bool = True,
        seam: str = "keep",
        full_prompt_noise: str = "reversed",
        noise_deviation: str = "unit",
    ):
        super().__init__()
        self.register_modules(
            unet=unet, scheduler=scheduler, vae=vae, text_encoder=text_encoder, tokenizer=tokenizer
        )
        self.register_to_config(
            temporal_decoder=temporal_decoder,
            seam=seam,
            full_prompt_noise=full_prompt_noise,
            noise_deviation=noise_deviation,
        )
        self.interrupt = False

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

    def compile(self) -> None:
        """Compiles each kind of layer of the UNet once, with dynamic sizes: later clips may have other lengths."""
        compile_blocks(self.unet, BLOCKS, dynamic=True)

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
    def __call__(self, prompt: str | Sequence[Prompt], num_clips: int = 1, **settings: Any) -> VidRDOutput:
        """Generates the videos of `prompt`; `settings` are those of `stream`."""
        parts = list(self.stream(prompt, num_clips, **settings))
        if not parts:  # interrupted before the first clip was done
            return VidRDOutput(frames=np.empty((0, 0, 0, 0, 3), dtype=np.uint8))
        return VidRDOutput(frames=np.concatenate(parts, axis=1))

    def stream(
        self,
        prompt: str | Sequence[Prompt],
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
        eta: float = 0.0,
        noise_alpha: float = 0.0,
        seam: str | None = None,
        height: int | None = None,
        width: int | None = None,
        callback_on_step_end: Callback | None = None,
    ) -> Iterator[np.ndarray]:
        """Yields frames, uint8 (b, n, h, w, 3), as soon as a clip is decoded; memory does not grow with `num_clips`.

        prompt: a text, or one for each video; a video's own may be a list of texts, one for each clip. One seed per
        video, or one for all: the noise depends on (seed, prompt, clip) alone. prompt_frames M, alpha and beta are the
        paper's; noise_alpha is the progressive noise prior's; seam overrides the model's. height and width are in
        pixels. callback_on_step_end(pipe, step, timestep, kwargs) is diffusers': `kwargs` holds `latents`, a tensor
        that nothing writes to later, and the index `clip`; it may return other `latents`. Setting `pipe.interrupt` to
        True ends the video after that step, with the clips that are done. Raises ModelError for settings that do not
        fit.
        """
        stories, seeds = stories_and_seeds(prompt, seed)
        shape = self.latent_shape(num_frames, height, width)
        options = SamplingOptions(
            num_inference_steps,
            guidance_scale,
            prompt_frames,
            alpha,
            beta,
            eta,
            self.config.full_prompt_noise,
        )
        options.check(num_frames)
        joiner = SeamJoiner(seam or self.config.seam, prompt_frames)
        sampler = ClipSampler(self.unet, self.scheduler, options, self._execution_device)
        negative_text_btd = self.encode_prompt([negative_prompt] * len(stories))
        self.interrupt, prompts = False, [""] * len(stories)
        for clip in range(num_clips):
            before, prompts = prompts, [story[min(clip, len(story) - 1)] for story in stories]
            if prompts != before or clip == 0:
                text_btd = self.encode_prompt(prompts)
            noise_bcnhw = progressive_noise(
                clip_noise(seeds, prompts, clip, shape), noise_alpha, self.config.noise_deviation
            )
            try:
                with self.progress_bar(total=num_inference_steps) as bar:
                    latents_bcnhw = sampler.next_clip(
                        noise_bcnhw,
                        text_btd,
                        negative_text_btd,
                        step_generators(seeds, prompts, clip),
                        on_step_end=self._on_step_end(clip, bar, callback_on_step_end),
                    )
            except Cancelled:
                break
            frames_bnhwc = joiner.push(self.decode_latents(latents_bcnhw))
            if frames_bnhwc.shape[1]:
                yield frames_bnhwc
        held_bnhwc = joiner.finish()
        if held_bnhwc is not None:
            yield held_bnhwc

    def _on_step_end(self, clip: int, bar: Any, callback: Callback | None) -> OnStepEnd:
        def on_step_end(
            step: int, timestep: torch.Tensor, latents_bcnhw: torch.Tensor
        ) -> torch.Tensor | None:
            bar.update()
            replaced = None
            if callback is not None:
                outputs = callback(self, step, timestep, {"latents": latents_bcnhw, "clip": clip}) or {}
                replaced = outputs.get("latents")
            if self.interrupt:
                raise Cancelled
            return replaced

        return on_step_end

    @torch.no_grad()
    def decode_latents(self, latents_bcnhw: torch.Tensor) -> np.ndarray:
        """Decodes latents b c n h w to frames, uint8 (b, n, h, w, 3), as the setting `temporal_decoder` says."""
        b, _, n = latents_bcnhw.shape[:3]
        folded = fold_frames(latents_bcnhw) / self.vae.config.scaling_factor
        num_frames = n if self.config.temporal_decoder else 1
        images = self.vae.decode(folded.to(self.vae.dtype), num_frames=num_frames).sample
        images = ((images.float() / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
        return images.unflatten(0, (b, n)).permute(0, 1, 3, 4, 2).cpu().numpy()

    def latent_shape(
        self, num_frames: int, height: int | None, width: int | None
    ) -> tuple[int, int, int, int]:
        """The shape c n h w of a clip's latents; sizes are in pixels, None is the model's own. Raises ModelError."""
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


def stories_and_seeds(
    prompt: str | Sequence[Prompt], seed: int | Sequence[int]
) -> tuple[list[list[str]], list[int]]:
    """For each video its texts, one or more, and its seed."""
    stories = (
        [[prompt]] if isinstance(prompt, str) else [[p] if isinstance(p, str) else list(p) for p in prompt]
    )
    seeds = [seed] * len(stories) if isinstance(seed, int) else list(seed)
    if len(seeds) != len(stories):
        raise ModelError(f"{len(stories)} prompts need as many seeds, got {len(seeds)}")
    if not all(stories):
        raise ModelError("a video without any prompt")
    return stories, seeds
