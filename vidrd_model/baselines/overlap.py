"""Overlap-conditioned clips: the last frames of a clip are the first ones of the next, held in place while it is made.

Holding a known part of a sample by replacing it in every step with its noised self is RePaint's conditioning (arXiv
2201.09865, algorithm 1, without its resampling) and the "replacement method" of Video Diffusion Models (arXiv
2204.03458, section 3.1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from vidrd_model.arguments import check_arguments
from vidrd_model.baselines.request import ARGUMENTS, VideoRequest
from vidrd_model.errors import ModelError
from vidrd_model.guidance import Predictor
from vidrd_model.noise import step_generators
from vidrd_model.outputs import in_depth_of, present
from vidrd_model.pipeline import VidRDPipeline
from vidrd_model.prompts import Prompt


def stream_overlap(
    pipe: VidRDPipeline, prompt: str | Sequence[Prompt], num_clips: int = 1, **settings: Any
) -> Iterator[Any]:
    """Yields frames (b, N, h, w, 3) of the output type, `num_clips` times, each as soon as it is complete.

    Clips overlap in forward order by M = `prompt_frames` frames, which are shown once: after the first clip each adds
    N - M frames, so more than `num_clips` are sampled. Memory does not grow with the length. `settings` and errors are
    those of `VideoRequest`; ModelError also for a scheduler with a corrector, which would undo the replacing.
    """
    check_arguments("stream_overlap", settings, ARGUMENTS)
    request = VideoRequest(pipe, prompt, num_clips, **settings)
    n, m = request.num_frames, request.shared_frames
    waiting_bnhwc: torch.Tensor | None = None
    shown = 0
    for latents_bcnhw in overlapping_clips(request):
        frames_bnhwc = in_depth_of(pipe.decode_latents(latents_bcnhw), request.output_type)
        if waiting_bnhwc is None:
            waiting_bnhwc = frames_bnhwc
        else:
            waiting_bnhwc = torch.cat([waiting_bnhwc, frames_bnhwc[:, m:]], dim=1)
        while waiting_bnhwc.shape[1] >= n and shown < num_clips:
            yield present(waiting_bnhwc[:, :n], request.output_type)
            waiting_bnhwc, shown = waiting_bnhwc[:, n:], shown + 1


@torch.no_grad()
def overlapping_clips(request: VideoRequest) -> Iterator[torch.Tensor]:
    """Yields the latents b c N h w of one clip after another; the first M frames are the last M of the clip before."""
    n, m = request.num_frames, request.shared_frames
    prompts: list[str] = []
    past_bcmhw: torch.Tensor | None = None
    for clip, start in enumerate(range(0, request.total_frames - m, n - m)):
        # The text of its first new frame.
        before, prompts = prompts, request.prompts(start + m if clip else 0)
        if prompts != before:
            text_btd = request.pipe.encode_prompt(prompts)
            predict = request.predictor(text_btd, request.negative_text_btd)
        latents_bcnhw = _held_clip(request, predict, prompts, clip, past_bcmhw)
        past_bcmhw = latents_bcnhw[:, :, n - m :].clone()
        yield latents_bcnhw


def _held_clip(
    request: VideoRequest,
    predict: Predictor,
    prompts: Sequence[str],
    clip: int,
    past_bcmhw: torch.Tensor | None,
) -> torch.Tensor:
    """Denoises one clip, its leading frames replaced before every step and at the end."""
    stepper = request.stepper(request.num_frames)
    if stepper.corrects:
        raise ModelError(
            f"{type(request.pipe.scheduler).__name__} corrects latents after the fact, which undoes the "
            "replacing of frames; use another scheduler"
        )
    generators = step_generators(request.seeds, prompts, clip)
    noise_bcnhw = request.noise(prompts, clip)
    latents_bcnhw = noise_bcnhw * stepper.init_noise_sigma
    held = 0 if past_bcmhw is None else past_bcmhw.shape[2]
    for timestep in stepper.timesteps:
        if past_bcmhw is not None and held:
            # The clip's own noise in every step, not RePaint's fresh one: a deterministic sampler then sees one path.
            noised_bcmhw = stepper.add_noise(past_bcmhw, noise_bcnhw[:, :, :held], timestep)
            latents_bcnhw = torch.cat([noised_bcmhw, latents_bcnhw[:, :, held:]], dim=2)
        target = predict(stepper.scale_model_input(latents_bcnhw, timestep), timestep)
        latents_bcnhw = stepper.step(target, timestep, latents_bcnhw, generators)
    stepper.check_finite(request.pipe.unet.dtype)
    if past_bcmhw is None or not held:
        return latents_bcnhw
    return torch.cat([past_bcmhw, latents_bcnhw[:, :, held:]], dim=2)
