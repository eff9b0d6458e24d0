"""FreeNoise (arXiv 2310.15169): the whole video at once, from noise that repeats, in windows that overlap.

Noise rescheduling (section 3.3): after the N frames of the base noise, every further run of frames takes the noise of
the frames N before it, shuffled. Window fusion (section 3.2): windows of N frames are denoised side by side and
averaged by how near a frame is to the middle of each window. FreeNoise fuses inside temporal attention; VidRD's
Temp-Convs and pooled GroupNorms look across frames as well, so here the UNet's whole prediction is fused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from vidrd_model.arguments import check_arguments
from vidrd_model.baselines.request import ARGUMENTS, VideoRequest
from vidrd_model.guidance import Predictor
from vidrd_model.noise import keyed_generator, step_generators
from vidrd_model.outputs import in_depth_of, present
from vidrd_model.pipeline import VidRDPipeline
from vidrd_model.prompts import Prompt


def stream_freenoise(
    pipe: VidRDPipeline, prompt: str | Sequence[Prompt], num_clips: int = 1, **settings: Any
) -> Iterator[Any]:
    """Yields frames (b, N, h, w, 3) of the output type, `num_clips` times, the first when all latents are done.

    Windows overlap by M = `prompt_frames` frames and pass the UNet together, so memory grows with the length.
    `settings` and errors are those of `VideoRequest`.
    """
    check_arguments("stream_freenoise", settings, ARGUMENTS)
    request = VideoRequest(pipe, prompt, num_clips, **settings)
    latents_bclhw = fused_latents(request)
    for clip_bcnhw in latents_bclhw.split(request.num_frames, dim=2):
        yield present(in_depth_of(pipe.decode_latents(clip_bcnhw), request.output_type), request.output_type)


@torch.no_grad()
def fused_latents(request: VideoRequest) -> torch.Tensor:
    """Denoises whole videos, latents b c l h w in float32."""
    n, total = request.num_frames, request.total_frames
    starts = window_starts(total, n, n - request.shared_frames)
    weights_wl = fusion_weights(starts, n, total).to(request.device)
    predict = _window_predictor(request, starts)
    stepper = request.stepper(total)
    prompts = request.prompts(0)
    generators = step_generators(request.seeds, prompts, 0)
    noise_bclhw = reschedule_noise(
        request.noise(prompts, 0), total, n - request.shared_frames, request.seeds, prompts
    )
    latents_bclhw = noise_bclhw * stepper.init_noise_sigma
    for timestep in stepper.timesteps:
        model_input = stepper.scale_model_input(latents_bclhw, timestep)
        windows = torch.cat([model_input[:, :, start : start + n] for start in starts])
        target = fuse(predict(windows, timestep), starts, weights_wl)
        latents_bclhw = stepper.step(target, timestep, latents_bclhw, generators)
    stepper.check_finite(request.pipe.unet.dtype)
    return latents_bclhw


def window_starts(total: int, size: int, stride: int) -> list[int]:
    """First frames of windows that cover `total` frames; the last window ends with the video."""
    return [*range(0, total - size, stride), total - size]


def fusion_weights(starts: Sequence[int], size: int, total: int) -> torch.Tensor:
    """How much each window says about each frame, (windows, frames); a frame's weights sum to one.

    They fall in steps of one from the middle of a window to its ends.
    """
    ramp = torch.arange(1.0, size + 1)
    weights_wl = torch.zeros(len(starts), total)
    for row, start in zip(weights_wl, starts, strict=True):
        row[start : start + size] = torch.minimum(ramp, ramp.flip(0))
    return weights_wl / weights_wl.sum(dim=0)


def fuse(windows: torch.Tensor, starts: Sequence[int], weights_wl: torch.Tensor) -> torch.Tensor:
    """Adds up the windows' predictions, (windows b) c n h w to b c l h w, by their weights."""
    parts = windows.chunk(len(starts))
    b, c, n, h, w = parts[0].shape
    fused = windows.new_zeros(b, c, weights_wl.shape[1], h, w)
    for part, start, weights_l in zip(parts, starts, weights_wl, strict=True):
        fused[:, :, start : start + n] += weights_l[start : start + n, None, None] * part
    return fused


def reschedule_noise(
    base_bcnhw: torch.Tensor, total: int, stride: int, seeds: Sequence[int], prompts: Sequence[str]
) -> torch.Tensor:
    """Noise b c l h w for `total` frames out of that of N, in runs of `stride` shuffled by each video's key."""
    n = base_bcnhw.shape[2]
    videos = []
    for noise_cnhw, seed, prompt in zip(base_bcnhw, seeds, prompts, strict=True):
        generator = keyed_generator(seed, prompt, "shuffles")
        order = list(range(n))
        for start in range(n, total, stride):
            earlier = order[start - n : start - n + stride]
            order += [earlier[i] for i in torch.randperm(len(earlier), generator=generator).tolist()]
        videos.append(noise_cnhw[:, order[:total]])
    return torch.stack(videos)


def _window_predictor(request: VideoRequest, starts: Sequence[int]) -> Predictor:
    """Predicts all windows of all videos in one pass; each window has the text of its middle frame."""
    texts = [request.pipe.encode_prompt(request.prompts(start + request.num_frames // 2)) for start in starts]
    negative = request.negative_text_btd.repeat(len(starts), 1, 1)
    return request.predictor(torch.cat(texts), negative)
