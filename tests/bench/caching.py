"""Deep features that are kept from the step before (DeepCache, arXiv 2312.00858), beside as many fewer steps.

It shows what step caching would bring and is no part of the pipeline: in a step between, only the first convolution and
the last layer are computed, on what came from below in the last whole step.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput

from tests.bench.tables import print_head, print_row
from vidrd_model.blocks import Conditions
from vidrd_model.temporal_layers import fold_frames, unfold_frames

if TYPE_CHECKING:
    from tasks.tiny.world.drawing import Scene
    from vidrd_model import TemporalUNet, VidRDPipeline

VIDEOS, CLIPS, BATCH = 16, 2, 8


def main() -> None:
    """Prints a row per way to compute less; the first is every step whole."""
    from flows.profile import load_profile
    from tasks.tiny.world.drawing import random_scene
    from vidrd_model import VidRDPipeline

    profile = load_profile("tiny")
    pipe = VidRDPipeline.from_pretrained(profile.model)
    pipe.set_progress_bar_config(disable=True)
    settings = profile.sampling.pipeline_arguments() | {"seam": "keep", "output_type": "latent"}
    steps = settings["num_inference_steps"]
    rng = np.random.default_rng(404)
    scenes = [random_scene(rng) for _ in range(VIDEOS)]
    print(f"{VIDEOS} videos of {CLIPS} clips; {steps} steps where nothing else is said.\n")
    print_head("steps", "PSNR to the first, dB: median, least", "colour and shape", "direction", "CPU time")
    whole, whole_s = _sampled(pipe, scenes, settings)
    _print("every step whole", whole, whole, scenes, 1.0)
    for every in (2, 3):
        with CachedSteps(pipe.unet, every):
            videos, taken_s = _sampled(pipe, scenes, settings)
        _print(f"one in {every} whole", videos, whole, scenes, taken_s / whole_s)
    for fewer in (steps // 2, steps // 3):
        videos, taken_s = _sampled(pipe, scenes, settings | {"num_inference_steps": fewer})
        _print(f"{fewer} steps", videos, whole, scenes, taken_s / whole_s)


class CachedSteps:
    """Within it, `unet` computes one pass in `every` as a whole."""

    def __init__(self, unet: TemporalUNet, every: int) -> None:
        self.unet, self.every, self.passes = unet, every, 0

    def __enter__(self) -> None:
        self.unet.forward = self.forward  # type: ignore[method-assign]

    def __exit__(self, *_: object) -> None:
        del self.unet.forward

    def forward(
        self, sample: torch.Tensor, timestep: Any, encoder_hidden_states: Any
    ) -> UNet2DConditionOutput:
        """As the UNet's."""
        unet, videos = self.unet, len(sample)
        time_bd = unet._embed_time(timestep, sample)
        frames_nc = unet._embed_frames(sample.shape[2], time_bd)
        conditions = Conditions(F.silu(time_bd), encoder_hidden_states, frames_nc)
        x = unfold_frames(unet.conv_in(fold_frames(sample)), videos)
        first = x
        if self.passes % self.every == 0:
            self.below = self._from_below(x, conditions)
        self.passes += 1
        last = len(unet.up_blocks[-1].resnets) - 1
        x = unet.up_blocks[-1].joining_layer(last, self.below, first, conditions)
        out = unfold_frames(unet.conv_out(fold_frames(F.silu(unet.conv_norm_out(x)))), videos)
        return UNet2DConditionOutput(sample=out.contiguous())

    def _from_below(self, x: torch.Tensor, conditions: Conditions) -> torch.Tensor:
        """All that lies between the first convolution and the last layer."""
        unet, skips = self.unet, [x]
        for block in unet.down_blocks:
            x, more = block(x, conditions)
            skips += more
        x = unet.mid_block(x, conditions)
        for block in unet.up_blocks[:-1]:
            taken = [skips.pop() for _ in block.resnets][::-1]
            x = block(x, taken, conditions, tuple(skips[-1].shape[-2:]))
        for index in range(len(unet.up_blocks[-1].resnets) - 1):
            x = unet.up_blocks[-1].joining_layer(index, x, skips.pop(), conditions)
        return x


def _sampled(
    pipe: VidRDPipeline, scenes: list[Scene], settings: dict[str, Any]
) -> tuple[list[np.ndarray], float]:
    """The videos' frames as bytes, and the processor seconds of their sampling, without decoding."""
    taken_s, videos = 0.0, []
    for first in range(0, VIDEOS, BATCH):
        prompts, seeds = [scene.caption for scene in scenes[first:][:BATCH]], [*range(first, first + BATCH)]
        started_s = time.process_time()
        latents_bcnhw = pipe(prompts, CLIPS, seed=seeds, **settings).frames
        taken_s += time.process_time() - started_s
        with torch.no_grad():
            frames_bnhwc = pipe.decode_latents(torch.as_tensor(latents_bcnhw))
        videos += list((255 * frames_bnhwc).round().byte().numpy())
    return videos, taken_s


def _print(
    name: str, videos: list[np.ndarray], whole: list[np.ndarray], scenes: list[Scene], time_share: float
) -> None:
    from tests.frame_reading import read_clip
    from vidrd_model.metrics import psnr_db

    read = [read_clip(frames) for frames in videos]
    kept = sum(
        (r.colour, r.shape) == (scene.colour, scene.shape) for r, scene in zip(read, scenes, strict=True)
    )
    right = sum(r.direction == scene.direction for r, scene in zip(read, scenes, strict=True))
    fidelity = [psnr_db(video, true) for video, true in zip(videos, whole, strict=True)]
    shown = "" if videos is whole else f"{np.median(fidelity):.1f}, {min(fidelity):.1f}"
    print_row(name, shown, f"{kept} of {VIDEOS}", f"{right} of {VIDEOS}", f"{time_share:.2f}")


if __name__ == "__main__":
    main()
