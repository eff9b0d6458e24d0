"""A few steps of a small model, as latents: for tests of what the sampling loop does."""

from __future__ import annotations

from typing import Any

import torch

from vidrd_model import VidRDPipeline

PROMPTS = ["a red circle moving right", "a blue square moving up"]
QUICK: dict[str, Any] = {"num_inference_steps": 6, "guidance_scale": 4.0, "output_type": "latent", "seed": 7}


def quick_latents(
    pipe: VidRDPipeline, prompt: Any = PROMPTS[0], clips: int = 1, **arguments: Any
) -> torch.Tensor:
    """The latents b c n h w of a video in six steps, unless the arguments say otherwise."""
    latents_bcnhw: torch.Tensor = pipe(prompt, clips, **QUICK | arguments).frames
    return latents_bcnhw
