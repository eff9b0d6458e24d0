"""VidRDPipeline: text to video of any length, clip by clip, each clip reusing the one before."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import torch
from diffusers import AutoencoderKL, SchedulerMixin
from diffusers.pipelines.pipeline_utils import StableDiffusionMixin
from diffusers.utils import BaseOutput
from transformers import CLIPTextModel, CLIPTokenizer

from vidrd_model.arguments import check_arguments, takes_arguments_of
from vidrd_model.blocks import BLOCKS
from vidrd_model.call_arguments import CallArguments, ClipArguments
from vidrd_model.call_settings import CallSettings, saved_settings
from vidrd_model.call_state import CallState
from vidrd_model.callbacks import TENSOR_INPUTS
from vidrd_model.compiling import compile_blocks
from vidrd_model.conditioning import encode_texts, text_conditions
from vidrd_model.continuing import Inversion, inverted_clip
from vidrd_model.errors import ArgumentError, ModelError
from vidrd_model.finite import check_frames
from vidrd_model.image_models import load_image_parts
from vidrd_model.lora import LoraMixin
from vidrd_model.memory import MemoryOptions
from vidrd_model.model_folder import ModelFolder
from vidrd_model.outputs import OutputType, whole_videos
from vidrd_model.prompts import Prompt
from vidrd_model.sampled_clips import SampledClips
from vidrd_model.sampling import ClipSampler, ClipToSample
from vidrd_model.shown_clips import ShownClips
from vidrd_model.temporal_file import read_temporal_layers
from vidrd_model.temporal_layers import fold_frames
from vidrd_model.unet import TemporalUNet
from vidrd_model.vae import TemporalVAE
from vidrd_model.video_batch import drawing_the_same
from vidrd_model.windows import in_windows, window_sizes

OnStep = Callable[[int, int, torch.Tensor], None]


@dataclass
class VidRDOutput(BaseOutput):
    """Generated videos of the asked `output_type`."""

    frames: Any


@dataclass
class ContinuedVideo(VidRDOutput):
    """The new clips of a video that was given, and how well its last frames were inverted."""

    inversion: Any = None


class VidRDPipeline(LoraMixin, MemoryOptions, CallState, StableDiffusionMixin, ModelFolder):
    """Samples videos with a TemporalUNet, any diffusers scheduler, and a VAE whose temporal decoder runs.

    Four settings are saved with the model, for what the authors' release does otherwise or is known for:
    `temporal_decoder` (off: its layers never run, quirk Q2), `seam` (how clips are joined, quirk Q3; see `SeamJoiner`),
    `full_prompt_noise` (quirk Q4; see `SamplingOptions`) and `noise_deviation` (quirk Q7; see `progressive_noise`).
    `sampling` is saved with it too: how a call samples where it does not say otherwise (see `saved_settings`).
    The VAE, text encoder and tokenizer may be None for work on latents alone. A VAE of images, such as another decoder
    for Stable Diffusion, is taken with temporal layers that change nothing.
    """

    _optional_components: ClassVar = ["vae", "text_encoder", "tokenizer"]
    model_cpu_offload_seq = "text_encoder->unet->vae"
    _callback_tensor_inputs: ClassVar = list(TENSOR_INPUTS)

    def __init__(
        self,
        unet: TemporalUNet | None,
        scheduler: SchedulerMixin | None,
        vae: TemporalVAE | AutoencoderKL | None = None,
        text_encoder: CLIPTextModel | None = None,
        tokenizer: CLIPTokenizer | None = None,
        temporal_decoder: bool = True,
        seam: str = "keep",
        full_prompt_noise: str = "reversed",
        noise_deviation: str = "unit",
        sampling: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        if isinstance(vae, AutoencoderKL) and not isinstance(vae, TemporalVAE):
            vae = TemporalVAE.from_image_vae(vae).to(vae.device, vae.dtype)
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
        self._guidance_scale = CallSettings.of(self.config.sampling).guidance_scale

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
        **unknown: Any,
    ) -> Any:
        """The text encoder's states of each prompt, (b, tokens, width), and those of what it should not show.

        Of prompts alone the states; asked as diffusers' pipelines are, with a device or whatever else beside them, a
        pair whose second part is None without guidance. Arguments and errors are those of `stream`.
        """
        check_arguments(
            "VidRDPipeline.encode_prompt",
            unknown,
            list(inspect.signature(self.encode_prompt).parameters)[:-1],
        )
        scale = 1.0 if lora_scale is None else lora_scale
        others = (device, do_classifier_free_guidance, negative_prompt, prompt_embeds, negative_prompt_embeds)
        if prompt is not None and num_videos_per_prompt == 1 and all(one is None for one in others):
            return encode_texts(self, [prompt] if isinstance(prompt, str) else prompt, clip_skip, scale)
        asked = CallArguments(
            prompt=prompt,
            num_videos_per_prompt=num_videos_per_prompt,
            negative_prompt=negative_prompt,
            prompt_embeds=prompt_embeds,
            negative_prompt_embeds=negative_prompt_embeds,
            clip_skip=clip_skip,
            attention_kwargs={"scale": scale},
        )
        guided = do_classifier_free_guidance is not False
        conditions = text_conditions(self, asked, asked.batch(), negative_prompt, guided)
        states = (conditions.of_clip(0), conditions.negative_btd)
        return tuple(one if one is None or device is None else one.to(device) for one in states)

    @takes_arguments_of(CallArguments)
    def stream(
        self, prompt: Prompt | Sequence[Prompt] | None = None, num_clips: int = 1, **settings: Any
    ) -> Iterator[Any]:
        """Yields the frames of each clip as soon as it is decoded; memory does not grow with `num_clips`.

        They are float32 (b, n, h, w, 3) in 0..1, or as another `output_type` says; `latent` yields every clip's latents
        whole, since clips are joined as frames.

        prompt: a text, or one for each video; a video's own may be a list of texts, one for each clip, or a dict by the
        frames of the video, as it is shown, that they begin at (`{0: "a red circle", 12: "a blue circle"}`).
        negative_prompt is one text for all, or a list of one for each. prompt_embeds and negative_prompt_embeds b t d
        stand for them.
        seed: one per prompt, or one for all (0): the noise depends on (seed, prompt, clip) alone, and copy k of a
        prompt, of `num_videos_per_prompt`, takes seed + k. A generator, or a list of one per video, is drawn from once
        for each video's seed, and the prompt is then in no key; with embeddings the empty prompt is. latents: the first
        clip's noise b c n h w, of unit variance, in place of what the seed gives. after: a clip of `invert`, which the
        first one goes on from; it is not among what is yielded. loop: the last of several clips is guided to the first
        one's first frames, so that the video's end meets its beginning. video: frames to edit, as `invert` takes them,
        at the model's frame rate; they say how many clips there are, which share M frames. strength, above 0 and up to
        1 (0.8): the part of the steps that is run on them.

        prompt_frames M, alpha and beta are the paper's; noise_alpha is the progressive noise prior's. height and width
        are in pixels. guidance_start and guidance_stop, shares of the steps, bound where guidance acts; other steps
        take half the time. cache_interval: one step in so many is computed whole, the others on its deep features (by
        default 1: all). timesteps or sigmas are for schedulers that take them. clip_skip leaves out the text
        encoder's last layers; `attention_kwargs={"scale": s}` scales LoRA layers. What is None is as it was saved with
        the model, else as published (`CallSettings`).

        clips_at_once: so many clips take each step together, which needs their memory and gives the same video up to
        rounding; by default as many as fill a GPU (`default_clips_at_once`), else one. first_window: so many in the
        first window, twice as many in each one after, so that the first clips come soon.

        callback_on_step_end(pipe, step, timestep, kwargs) is diffusers': `kwargs` holds what its tensor inputs name (of
        `TENSOR_INPUTS`), tensors that nothing writes to later, and others that it returns take their place. Setting
        `pipe.interrupt` to True ends the video after that step, with the windows of clips that are done. Raises
        ModelError for settings that do not fit, and for latents or frames that are not finite.
        """
        asked = CallArguments(prompt=prompt, num_clips=num_clips, **settings)
        asked = asked.sized_by_latents(self.vae_scale_factor)
        how = asked.settings(self.config.sampling)
        shown = ShownClips(self, asked, how.prompt_frames)
        try:
            clips = SampledClips(self, asked, how)
            shown.end_after(clips.num_shown)
            if asked.after is not None:
                shown.follow(asked.after.frames_bnhwc)
            for latents_bcnhw in clips:
                yield from shown.push(latents_bcnhw)
        finally:
            self.maybe_free_model_hooks()
        yield from shown.finish()

    @takes_arguments_of(stream)
    @torch.no_grad()
    def __call__(
        self,
        prompt: Prompt | Sequence[Prompt] | None = None,
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
        frames = whole_videos(parts, output_type, self._num_videos)
        return VidRDOutput(frames=frames) if return_dict else (frames,)

    @takes_arguments_of(ClipArguments)
    @torch.no_grad()
    def invert(
        self, frames: Any, prompt: Prompt | Sequence[Prompt] | None = None, **settings: Any
    ) -> Inversion:
        """What the last frames of a video would have been sampled from, as `after` of `stream` takes it.

        frames: of a video at the model's frame rate, (n, h, w, 3), float in 0..1 or uint8, or images of Pillow; or of
        one video for each prompt, (b, n, h, w, 3). They are scaled and cropped to the clip's size, and the last
        `num_frames` count. Of a single picture a seeded zoom or pan is made. The rest is as in `stream`; the prompt is
        that of the first clip to come. Raises ModelError for what does not fit, and for schedulers other than DDIM.
        """
        try:
            return inverted_clip(self, frames, ClipArguments(prompt=prompt, **settings))
        finally:
            self.maybe_free_model_hooks()

    @takes_arguments_of(stream)
    def continue_video(
        self,
        frames: Any,
        prompt: Prompt | Sequence[Prompt] | None = None,
        num_clips: int = 1,
        *,
        return_dict: bool = True,
        **settings: Any,
    ) -> Any:
        """Goes on from a video, or from one picture: frames and settings are those of `invert` and `stream`.

        Gives a `ContinuedVideo`, or a tuple: the frames of the new clips alone, and the inversion with its figures.
        """
        for name, what in (("after", "a clip that is inverted"), ("video", "a video that is edited")):
            if settings.get(name) is not None:
                raise ArgumentError(f"continue_video() inverts its frames; {what} is for pipe({name}=...)")
        of_a_clip = {field.name for field in fields(ClipArguments)}
        inverting = {name: value for name, value in settings.items() if name in of_a_clip}
        if inverting.get("generator") is not None:  # one draw for each video, whichever call asks for it
            inverting["generator"] = drawing_the_same(inverting["generator"])
        inversion = self.invert(frames, prompt, **inverting)
        (new,) = self(prompt, num_clips, return_dict=False, after=inversion, **settings)
        return ContinuedVideo(frames=new, inversion=inversion) if return_dict else (new, inversion)

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
        clips_at_once: int = 1,
    ) -> Iterator[torch.Tensor]:
        """Yields the latents of each clip, b c n h w in float32, as soon as they are done.

        Needs the UNet and the scheduler only. initial_noise b c n h w is the first clip's; `fresh_noise` has one tensor
        for each later clip, of unit variance: it is scaled here. on_step(clip, step, latents) gets the latents that go
        into a step, before `scale_model_input`; nothing writes to them later. `clips_at_once` clips take each step
        together. Other settings and errors are those of `stream`; guidance needs negative embeddings.
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
        clips = (
            ClipToSample(
                noise_bcnhw,
                prompt_embeds,
                negative_prompt_embeds,
                on_step_start=None if on_step is None else partial(on_step, clip),
            )
            for clip, noise_bcnhw in enumerate(chain([initial_noise], fresh_noise))
        )
        for window in in_windows(clips, window_sizes(clips_at_once)):
            yield from sampler.next_window(window)

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
