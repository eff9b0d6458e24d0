"""VidRDPipeline: text to video of any length, clip by clip, each clip reusing the one before."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import torch
from diffusers import SchedulerMixin
from diffusers.utils import BaseOutput
from transformers import CLIPTextModel, CLIPTokenizer

from vidrd_model.arguments import lora_scale, takes_arguments_of
from vidrd_model.blocks import BLOCKS
from vidrd_model.call_settings import CallSettings, saved_settings
from vidrd_model.callbacks import TENSOR_INPUTS, Callback, StepCallback
from vidrd_model.compiling import compile_blocks
from vidrd_model.conditioning import TextConditions, encode_texts, text_conditions
from vidrd_model.continuing import Inversion, inverted_clip
from vidrd_model.errors import ArgumentError, ModelError
from vidrd_model.finite import check_frames
from vidrd_model.image_models import load_image_parts
from vidrd_model.lora import LoraMixin
from vidrd_model.memory import MemoryOptions
from vidrd_model.model_folder import ModelFolder
from vidrd_model.noise import ClipNoises
from vidrd_model.outputs import OutputType, check_output_type, in_depth_of, present, whole_videos
from vidrd_model.prompts import Prompt
from vidrd_model.sampling import Cancelled, ClipSampler, Stepper
from vidrd_model.seams import SeamJoiner
from vidrd_model.temporal_file import read_temporal_layers
from vidrd_model.temporal_layers import fold_frames
from vidrd_model.unet import TemporalUNet
from vidrd_model.vae import TemporalVAE
from vidrd_model.video_batch import Generators, video_batch

OnStep = Callable[[int, int, torch.Tensor], None]


@dataclass
class VidRDOutput(BaseOutput):
    """Generated videos of the asked `output_type`."""

    frames: Any


@dataclass
class ContinuedVideo(VidRDOutput):
    """The new clips of a video that was given, and how well its last frames were inverted."""

    inversion: Any = None


class VidRDPipeline(LoraMixin, MemoryOptions, ModelFolder):
    """Samples videos with a TemporalUNet, any diffusers scheduler, and a VAE whose temporal decoder runs.

    Four settings are saved with the model, for what the authors' release does otherwise or is known for:
    `temporal_decoder` (off: its layers never run, quirk Q2), `seam` (how clips are joined, quirk Q3; see `SeamJoiner`),
    `full_prompt_noise` (quirk Q4; see `SamplingOptions`) and `noise_deviation` (quirk Q7; see `progressive_noise`).
    `sampling` is saved with it too: how a call samples where it does not say otherwise (see `saved_settings`).
    The VAE, text encoder and tokenizer may be None for work on latents alone.
    """

    _optional_components: ClassVar = ["vae", "text_encoder", "tokenizer"]
    model_cpu_offload_seq = "text_encoder->unet->vae"
    _callback_tensor_inputs: ClassVar = list(TENSOR_INPUTS)

    def __init__(
        self,
        unet: TemporalUNet | None,
        scheduler: SchedulerMixin | None,
        vae: TemporalVAE | None = None,
        text_encoder: CLIPTextModel | None = None,
        tokenizer: CLIPTokenizer | None = None,
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
        self._interrupt = False
        self._guidance_scale = CallSettings.of(self.config.sampling).guidance_scale
        self._num_timesteps = self._num_videos = 0
        self._clip_skip: int | None = None
        self._attention_kwargs: Mapping[str, Any] | None = None

    @property
    def interrupt(self) -> bool:
        """Whether the call that is running shall end after its step."""
        return self._interrupt

    @interrupt.setter
    def interrupt(self, value: bool) -> None:
        self._interrupt = value

    @property
    def guidance_scale(self) -> float:
        """Of the call that is running, or of the last one; a callback may set `_guidance_scale`."""
        return self._guidance_scale

    @property
    def do_classifier_free_guidance(self) -> bool:
        """Whether the UNet computes both with and without the text."""
        return self._guidance_scale != 1.0

    @property
    def num_timesteps(self) -> int:
        """The steps of each clip of the call that is running, or of the last one."""
        return self._num_timesteps

    @property
    def clip_skip(self) -> int | None:
        """Of the call that is running, or of the last one."""
        return self._clip_skip

    @property
    def attention_kwargs(self) -> Mapping[str, Any] | None:
        """Of the call that is running, or of the last one."""
        return self._attention_kwargs

    @property
    def vae_scale_factor(self) -> int:
        """Pixels of a latent's side; without a VAE, on latents alone, those of Stable Diffusion's."""
        return 8 if self.vae is None else 2 ** (len(self.vae.config.block_out_channels) - 1)

    @classmethod
    def from_image_model(
        cls,
        pretrained_model_name_or_path: str | Path,
        temporal: str | Path | None = None,
        dtype: torch.dtype = torch.float32,
        **settings: Any,
    ) -> VidRDPipeline:
        """Makes a video model of a Stable Diffusion 1 or 2 folder or hub id (`id@revision` pins it).

        Its temporal layers are those of the file `temporal`, which `vidrd weights export --temporal` writes: trained on
        one image model, they fit any fine-tune of it. Without a file they are fresh, and every frame is the image
        model's. `settings` are the pipeline's own and come before the file's. Raises ModelError for what cannot be
        loaded, and naming the layers where the file does not fit.
        """
        source = str(pretrained_model_name_or_path)
        parts = load_image_parts(source)
        layers = None if temporal is None else read_temporal_layers(temporal)
        unet = TemporalUNet.from_image_unet(source, **({} if layers is None else layers.unet_settings))
        vae = TemporalVAE.from_image_vae(source)
        if layers is not None:
            settings = layers.put_into(unet, vae, parts["scheduler"], source) | settings
        pipe = cls(unet=unet, vae=vae, **parts, **settings)
        return pipe if dtype == torch.float32 else pipe.to(dtype)

    def compile(self) -> None:
        """Compiles each kind of layer of the UNet once, with dynamic sizes: later clips may have other lengths."""
        compile_blocks(self.unet, BLOCKS, dynamic=True)

    def encode_prompt(
        self,
        prompt: str | Sequence[str] | None = None,
        device: torch.device | str | None = None,
        num_videos_per_prompt: int = 1,
        do_classifier_free_guidance: bool | None = None,
        negative_prompt: str | Sequence[str] | None = None,
        prompt_embeds: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        lora_scale: float | None = None,
        clip_skip: int | None = None,
    ) -> Any:
        """The text encoder's states of each prompt, (b, tokens, width), and those of what it should not show.

        Of prompts alone the states; asked as diffusers' pipelines are, with a device or whatever else beside them, a
        pair whose second part is None without guidance. Arguments and errors are those of `stream`.
        """
        others = (device, do_classifier_free_guidance, negative_prompt, prompt_embeds, negative_prompt_embeds)
        if prompt is not None and num_videos_per_prompt == 1 and all(one is None for one in others):
            texts = [prompt] if isinstance(prompt, str) else prompt
            return encode_texts(self, texts, clip_skip, 1.0 if lora_scale is None else lora_scale)
        conditions = text_conditions(
            self,
            video_batch(prompt, prompt_embeds, None, None, num_videos_per_prompt),
            negative_prompt,
            do_classifier_free_guidance is not False,
            clip_skip,
            prompt_embeds,
            negative_prompt_embeds,
            1.0 if lora_scale is None else lora_scale,
        )
        states = (conditions.of_clip(0), conditions.negative_btd)
        return tuple(one if one is None or device is None else one.to(device) for one in states)

    def stream(
        self,
        prompt: str | Sequence[Prompt] | None = None,
        num_clips: int = 1,
        *,
        num_frames: int | None = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int | None = None,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
        guidance_scale: float | None = None,
        guidance_rescale: float | None = None,
        negative_prompt: str | Sequence[str] | None = None,
        num_videos_per_prompt: int = 1,
        seed: int | Sequence[int] | None = None,
        generator: Generators | None = None,
        latents: torch.Tensor | None = None,
        after: Inversion | None = None,
        prompt_embeds: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        clip_skip: int | None = None,
        prompt_frames: int | None = None,
        alpha: float | None = None,
        beta: float | None = None,
        eta: float | None = None,
        noise_alpha: float | None = None,
        seam: str | None = None,
        output_type: OutputType = "np",
        attention_kwargs: Mapping[str, Any] | None = None,
        callback_on_step_end: Callback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents", "clip"),
    ) -> Iterator[Any]:
        """Yields the frames of each clip as soon as it is decoded; memory does not grow with `num_clips`.

        They are float32 (b, n, h, w, 3) in 0..1, or as another `output_type` says; `latent` yields every clip's latents
        whole, since clips are joined as frames.

        prompt: a text, or one for each video; a video's own may be a list of texts, one for each clip. negative_prompt
        is one text for all, or a list of one for each. prompt_embeds and negative_prompt_embeds b t d stand for them.
        seed: one per prompt, or one for all (0): the noise depends on (seed, prompt, clip) alone, and copy k of a
        prompt, of `num_videos_per_prompt`, takes seed + k. A generator, or a list of one per video, is drawn from once
        for each video's seed, and the prompt is then in no key; with embeddings the empty prompt is. latents: the first
        clip's noise b c n h w, of unit variance, in place of what the seed gives. after: a clip of `invert`, which the
        first one goes on from; it is not among what is yielded.

        prompt_frames M, alpha and beta are the paper's; noise_alpha is the progressive noise prior's. height and width
        are in pixels. timesteps or sigmas are for schedulers that take them. clip_skip leaves out the text encoder's
        last layers; `attention_kwargs={"scale": s}` scales LoRA layers. What is None is as it was saved with the model,
        else as published (`CallSettings`).

        callback_on_step_end(pipe, step, timestep, kwargs) is diffusers': `kwargs` holds what its tensor inputs name (of
        `TENSOR_INPUTS`), tensors that nothing writes to later, and others that it returns take their place. Setting
        `pipe.interrupt` to True ends the video after that step, with the clips that are done. Raises ModelError for
        settings that do not fit, and for latents or frames that are not finite.
        """
        num_frames, height, width = self._sizes(latents, num_frames, height, width)
        settings = CallSettings.of(
            self.config.sampling,
            num_frames=num_frames,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            guidance_rescale=guidance_rescale,
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
        if negative_prompt is not None and negative_prompt_embeds is not None:
            raise ModelError("give either negative_prompt or negative_prompt_embeds, not both")
        joiner = SeamJoiner(seam or self.config.seam, settings.prompt_frames)
        batch = video_batch(prompt, prompt_embeds, seed, generator, num_videos_per_prompt)
        self._num_videos = len(batch)
        shape_cnhw = self.latent_shape(settings.num_frames, settings.height, settings.width)
        clips_before = 0 if after is None else 1
        noises = ClipNoises(
            batch, shape_cnhw, settings.noise_alpha, self.config.noise_deviation, latents, clips_before
        )
        sampler = self._sampler(settings, num_clips, timesteps, sigmas)
        if after is not None:
            if latents is not None:
                raise ModelError(
                    "give either latents or after, not both: the inverted clip has the first noise"
                )
            after.check_fits((len(batch), *shape_cnhw), self._num_timesteps)
            sampler.follow(after.latents_by_step)
            joiner.push(in_depth_of(after.frames_bnhwc.to(self._execution_device), output_type))
        callback = StepCallback(self, callback_on_step_end, callback_on_step_end_tensor_inputs)
        self._clip_skip, self._attention_kwargs = clip_skip, attention_kwargs
        lora = lora_scale(attention_kwargs)
        texts = text_conditions(
            self,
            batch,
            settings.negative_prompt,
            self.do_classifier_free_guidance,
            clip_skip,
            prompt_embeds,
            negative_prompt_embeds,
            lora,
        )
        try:
            for latents_bcnhw in self._sampled_clips(num_clips, sampler, noises, texts, callback, lora):
                if output_type == "latent":
                    yield latents_bcnhw
                    continue
                shown_bnhwc = joiner.push(in_depth_of(self.decode_latents(latents_bcnhw), output_type))
                self._rest_models()
                if shown_bnhwc.shape[1]:
                    yield present(shown_bnhwc, output_type)
        finally:
            self.maybe_free_model_hooks()
        held_bnhwc = joiner.finish()
        if held_bnhwc is not None:
            yield present(held_bnhwc, output_type)

    @takes_arguments_of(stream)
    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[Prompt] | None = None,
        num_clips: int = 1,
        *,
        output_type: OutputType = "np",
        return_dict: bool = True,
        **settings: Any,
    ) -> Any:
        """Generates the videos of `prompt`: a `VidRDOutput`, or a tuple; `settings` are those of `stream`.

        Interrupted before the first clip was done, the videos have no frames.
        """
        parts = list(self.stream(prompt, num_clips, output_type=output_type, **settings))
        videos = len(parts[0]) if parts else self._num_videos
        frames = whole_videos(parts, output_type, videos)
        return VidRDOutput(frames=frames) if return_dict else (frames,)

    @torch.no_grad()
    def invert(
        self,
        frames: Any,
        prompt: str | Sequence[Prompt] | None = None,
        *,
        num_frames: int | None = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int | None = None,
        timesteps: Sequence[float] | None = None,
        num_videos_per_prompt: int = 1,
        seed: int | Sequence[int] | None = None,
        generator: Generators | None = None,
        prompt_embeds: torch.Tensor | None = None,
        clip_skip: int | None = None,
        attention_kwargs: Mapping[str, Any] | None = None,
    ) -> Inversion:
        """What the last frames of a video would have been sampled from, as `after` of `stream` takes it.

        frames: of a video at the model's frame rate, (n, h, w, 3), float in 0..1 or uint8, or images of Pillow; or of
        one video for each prompt, (b, n, h, w, 3). They are scaled and cropped to the clip's size, and the last
        `num_frames` count. Of a single picture a seeded zoom or pan is made. The rest is as in `stream`; the prompt is
        that of the first clip to come. Raises ModelError for what does not fit, and for schedulers other than DDIM.
        """
        settings = CallSettings.of(
            self.config.sampling,
            num_frames=num_frames,
            height=height,
            width=width,
            num_inference_steps=num_inference_steps,
        )
        batch = video_batch(prompt, prompt_embeds, seed, generator, num_videos_per_prompt)
        try:
            return inverted_clip(
                self, frames, batch, settings, timesteps, prompt_embeds, clip_skip, attention_kwargs
            )
        finally:
            self.maybe_free_model_hooks()

    @takes_arguments_of(stream)
    def continue_video(
        self,
        frames: Any,
        prompt: str | Sequence[Prompt] | None = None,
        num_clips: int = 1,
        *,
        return_dict: bool = True,
        **settings: Any,
    ) -> Any:
        """Goes on from a video, or from one picture: frames and settings are those of `invert` and `stream`.

        Gives a `ContinuedVideo`, or a tuple: the frames of the new clips alone, and the inversion with its figures.
        """
        if "after" in settings:
            raise ArgumentError(
                "continue_video() inverts its frames; a clip that is inverted is for pipe(after=...)"
            )
        known = inspect.signature(self.invert).parameters
        inverting = {name: value for name, value in settings.items() if name in known}
        inversion = self.invert(frames, prompt, **inverting)
        (new,) = self(prompt, num_clips, return_dict=False, after=inversion, **settings)
        return ContinuedVideo(frames=new, inversion=inversion) if return_dict else (new, inversion)

    def _sampler(
        self,
        settings: CallSettings,
        num_clips: int,
        timesteps: Sequence[float] | None,
        sigmas: Sequence[float] | None,
    ) -> ClipSampler:
        """The sampler of a call, whose state begins anew; ModelError for settings that it cannot use."""
        if num_clips < 1:
            raise ModelError(f"num_clips must be at least 1, not {num_clips}")
        options = settings.options(self.config.full_prompt_noise, timesteps=timesteps, sigmas=sigmas)
        options.check(settings.num_frames)
        device = self._execution_device
        started = Stepper(self.scheduler, options, settings.num_frames, device)
        self._num_timesteps, self._guidance_scale = len(started.timesteps), options.guidance_scale
        self._interrupt = False
        return ClipSampler(self.unet, self.scheduler, options, device)

    def _sampled_clips(
        self,
        num_clips: int,
        sampler: ClipSampler,
        noises: ClipNoises,
        texts: TextConditions,
        callback: StepCallback,
        lora: float,
    ) -> Iterator[torch.Tensor]:
        """Yields the latents b c n h w of one clip after another, until `interrupt` is set."""
        for clip in range(num_clips):
            text_btd = texts.of_clip(clip)
            self._guidance_scale = sampler.options.guidance_scale  # whatever a callback made of it
            try:
                with self.progress_bar(total=self._num_timesteps) as bar, self.scaled_lora(lora):
                    latents_bcnhw = sampler.next_clip(
                        noises.of_clip(clip),
                        text_btd,
                        texts.negative_btd,
                        noises.generators(clip),
                        on_step_end=callback.of_clip(clip, sampler, text_btd, texts.negative_btd, bar),
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
        default, scale = self.unet.config.sample_size, self.vae_scale_factor
        sizes = []
        for name, pixels in (("height", height), ("width", width)):
            if pixels is None and default is None:
                raise ModelError(f"the UNet's config names no sample_size: give {name} in pixels")
            if pixels is not None and pixels % scale:
                raise ModelError(f"{name} must be a multiple of {scale} pixels, not {pixels}")
            sizes.append(default if pixels is None else pixels // scale)
        return (self.unet.config.in_channels, num_frames, sizes[0], sizes[1])

    def _sizes(
        self,
        latents: torch.Tensor | None,
        num_frames: int | None,
        height: int | None,
        width: int | None,
    ) -> tuple[int | None, int | None, int | None]:
        """The sizes that are given, else those of the given latents b c n h w; ModelError for ones of other axes."""
        if latents is None:
            return num_frames, height, width
        if latents.ndim != 5:
            raise ModelError(f"latents must be b c n h w, not {tuple(latents.shape)}")
        n, h, w = latents.shape[2:]
        scale = self.vae_scale_factor
        return num_frames or n, height or h * scale, width or w * scale
