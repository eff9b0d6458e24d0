"""VidRDPipeline: text to video of any length, clip by clip, each clip reusing the one before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import torch
from diffusers import DiffusionPipeline
from diffusers.utils import BaseOutput
from safetensors import SafetensorError

from vidrd_model.blocks import BLOCKS
from vidrd_model.call_settings import CallSettings, saved_settings
from vidrd_model.compiling import compile_blocks
from vidrd_model.errors import ModelError
from vidrd_model.finite import check_frames
from vidrd_model.noise import clip_noise, progressive_noise, step_generators
from vidrd_model.outputs import OutputType, check_output_type, in_depth_of, present, whole_videos
from vidrd_model.prompts import Prompt, negative_texts, stories_and_seeds, warn_of_lost_words
from vidrd_model.sampling import Cancelled, ClipSampler, OnStepEnd
from vidrd_model.seams import SeamJoiner
from vidrd_model.temporal_layers import fold_frames
from vidrd_model.unet import TemporalUNet
from vidrd_model.vae import TemporalVAE  # noqa: F401 (diffusers imports no module because a folder names it)

Callback = Callable[[Any, int, Any, dict[str, Any]], dict[str, Any] | None]
OnStep = Callable[[int, int, torch.Tensor], None]


@dataclass
class VidRDOutput(BaseOutput):
    """Generated videos of the asked `output_type`."""

    frames: Any


class VidRDPipeline(DiffusionPipeline):
    """Samples videos with a TemporalUNet, any diffusers scheduler, and a VAE whose temporal decoder runs.

    Four settings are saved with the model, for what the authors' release does otherwise or is known for:
    `temporal_decoder` (off: its layers never run, quirk Q2), `seam` (how clips are joined, quirk Q3; see `SeamJoiner`),
    `full_prompt_noise` (quirk Q4; see `SamplingOptions`) and `noise_deviation` (quirk Q7; see `progressive_noise`).
    `sampling` is saved with it too: how a call samples where it does not say otherwise (see `saved_settings`).
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
        sampling: Mapping[str, Any] | None = None,
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
            sampling=saved_settings(sampling),
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
        except ModelError as error:
            raise ModelError(f"{folder / 'model_index.json'}: {error}") from error
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
    def __call__(
        self,
        prompt: str | Sequence[Prompt],
        num_clips: int = 1,
        *,
        output_type: OutputType = "np",
        **settings: Any,
    ) -> VidRDOutput:
        """Generates the videos of `prompt`; `settings` are those of `stream`.

        Interrupted before the first clip was done, the videos have no frames.
        """
        parts = list(self.stream(prompt, num_clips, output_type=output_type, **settings))
        videos = 1 if isinstance(prompt, str) else len(list(prompt))
        return VidRDOutput(frames=whole_videos(parts, output_type, len(parts[0]) if parts else videos))

    def stream(
        self,
        prompt: str | Sequence[Prompt],
        num_clips: int = 1,
        *,
        num_frames: int | None = None,
        seed: int | Sequence[int] = 0,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        negative_prompt: str | Sequence[str] | None = None,
        prompt_frames: int | None = None,
        alpha: float | None = None,
        beta: float | None = None,
        eta: float | None = None,
        noise_alpha: float | None = None,
        seam: str | None = None,
        height: int | None = None,
        width: int | None = None,
        output_type: OutputType = "np",
        callback_on_step_end: Callback | None = None,
    ) -> Iterator[Any]:
        """Yields the frames of each clip as soon as it is decoded; memory does not grow with `num_clips`.

        They are float32 (b, n, h, w, 3) in 0..1, or as another `output_type` says; `latent` yields every clip's latents
        whole, since clips are joined as frames.

        prompt: a text, or one for each video; a video's own may be a list of texts, one for each clip. One seed per
        video, or one for all: the noise depends on (seed, prompt, clip) alone. negative_prompt is one text for all
        videos, or a list of one for each. prompt_frames M, alpha and beta are the paper's; noise_alpha is the
        progressive noise prior's. height and width are in pixels. What is None is as it was saved with the model, else
        as published (`CallSettings`). callback_on_step_end(pipe, step, timestep, kwargs) is diffusers': `kwargs` holds
        `latents`, a tensor that nothing writes to later, and the index `clip`; it may return other `latents`. Setting
        `pipe.interrupt` to True ends the video after that step, with the clips that are done. Raises ModelError for
        settings that do not fit, and for latents or frames that are not finite.
        """
        settings = CallSettings.of(
            self.config.sampling,
            num_frames=num_frames,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            negative_prompt=negative_prompt,
            prompt_frames=prompt_frames,
            alpha=alpha,
            beta=beta,
            eta=eta,
            noise_alpha=noise_alpha,
            height=height,
            width=width,
        )
        check_output_type(output_type)
        if output_type == "latent" and seam not in (None, "keep"):
            raise ModelError(f"seam {seam!r} joins frames; output_type latent has none")
        joiner = SeamJoiner(seam or self.config.seam, settings.prompt_frames)
        clips = self._sampled_clips(prompt, num_clips, seed, settings, callback_on_step_end)
        for latents_bcnhw in clips:
            if output_type == "latent":
                yield latents_bcnhw
                continue
            shown_bnhwc = joiner.push(in_depth_of(self.decode_latents(latents_bcnhw), output_type))
            if shown_bnhwc.shape[1]:
                yield present(shown_bnhwc, output_type)
        held_bnhwc = joiner.finish()
        if held_bnhwc is not None:
            yield present(held_bnhwc, output_type)

    def _sampled_clips(
        self,
        prompt: str | Sequence[Prompt],
        num_clips: int,
        seed: int | Sequence[int],
        settings: CallSettings,
        callback: Callback | None,
    ) -> Iterator[torch.Tensor]:
        """Yields the latents b c n h w of one clip after another, until `interrupt` is set."""
        stories, seeds = stories_and_seeds(prompt, seed)
        negative = negative_texts(settings.negative_prompt, len(stories))
        if num_clips < 1:
            raise ModelError(f"num_clips must be at least 1, not {num_clips}")
        shape = self.latent_shape(settings.num_frames, settings.height, settings.width)
        options = settings.options(self.config.full_prompt_noise)
        options.check(settings.num_frames)
        sampler = ClipSampler(self.unet, self.scheduler, options, self._execution_device)
        warn_of_lost_words(self.tokenizer, stories, negative)
        negative_text_btd = self.encode_prompt(negative)
        self.interrupt, prompts = False, [""] * len(stories)
        for clip in range(num_clips):
            before, prompts = prompts, [story[min(clip, len(story) - 1)] for story in stories]
            if prompts != before or clip == 0:
                text_btd = self.encode_prompt(prompts)
            noise_bcnhw = progressive_noise(
                clip_noise(seeds, prompts, clip, shape), settings.noise_alpha, self.config.noise_deviation
            )
            try:
                with self.progress_bar(total=options.num_inference_steps) as bar:
                    latents_bcnhw = sampler.next_clip(
                        noise_bcnhw,
                        text_btd,
                        negative_text_btd,
                        step_generators(seeds, prompts, clip),
                        on_step_end=self._on_step_end(clip, bar, callback),
                    )
            except Cancelled:
                break
            yield latents_bcnhw

    def sample_latents(
        self,
        prompt_embeds: torch.Tensor,
        negative_prompt_embeds: torch.Tensor | None = None,
        *,
        initial_noise: torch.Tensor,
        fresh_noise: Iterable[torch.Tensor] = (),
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        prompt_frames: int | None = None,
        alpha: float | None = None,
        beta: float | None = None,
        on_step: OnStep | None = None,
    ) -> Iterator[torch.Tensor]:
        """Yields the latents of each clip, b c n h w in float32, as soon as they are done.

        Needs the UNet and the scheduler only. initial_noise b c n h w is the first clip's; `fresh_noise` has one tensor
        for each later clip, of unit variance: it is scaled here. on_step(clip, step, latents) gets the latents that go
        into a step, before `scale_model_input`; nothing writes to them later. Other settings and errors are those of
        `stream`; guidance needs negative embeddings.
        """
        settings = CallSettings.of(
            self.config.sampling,
            num_frames=initial_noise.shape[2],
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            prompt_frames=prompt_frames,
            alpha=alpha,
            beta=beta,
        )
        options = settings.options(self.config.full_prompt_noise)
        sampler = ClipSampler(self.unet, self.scheduler, options, self._execution_device)
        for clip, noise_bcnhw in enumerate(chain([initial_noise], fresh_noise)):
            yield sampler.next_clip(
                noise_bcnhw,
                prompt_embeds,
                negative_prompt_embeds,
                on_step_start=None if on_step is None else partial(on_step, clip),
            )

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
    def decode_latents(self, latents_bcnhw: torch.Tensor) -> torch.Tensor:
        """Decodes latents b c n h w to frames, float32 (b, n, h, w, 3) in 0..1, as `temporal_decoder` says.

        Raises ModelError when they are not finite.
        """
        b, _, n = latents_bcnhw.shape[:3]
        folded = fold_frames(latents_bcnhw) / self.vae.config.scaling_factor
        num_frames = n if self.config.temporal_decoder else 1
        images = self.vae.decode(folded.to(self.vae.dtype), num_frames=num_frames).sample
        check_frames(images, self.vae.dtype)
        return (images.float() / 2 + 0.5).clamp(0, 1).unflatten(0, (b, n)).permute(0, 1, 3, 4, 2)

    def latent_shape(
        self, num_frames: int, height: int | None, width: int | None
    ) -> tuple[int, int, int, int]:
        """The shape c n h w of a clip's latents; sizes are in pixels, None is the model's own. Raises ModelError."""
        default = self.unet.config.sample_size
        # Without a VAE, on latents alone, pixels are those of Stable Diffusion's, as in diffusers' pipelines.
        scale = 8 if self.vae is None else 2 ** (len(self.vae.config.block_out_channels) - 1)
        sizes = []
        for name, pixels in (("height", height), ("width", width)):
            if pixels is None and default is None:
                raise ModelError(f"the UNet's config names no sample_size: give {name} in pixels")
            if pixels is not None and pixels % scale:
                raise ModelError(f"{name} must be a multiple of {scale} pixels, not {pixels}")
            sizes.append(default if pixels is None else pixels // scale)
        return (self.unet.config.in_channels, num_frames, sizes[0], sizes[1])
