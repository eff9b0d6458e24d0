"""Models made worse on purpose."""

from pathlib import Path

import torch

from vidrd_model import VidRDPipeline


def damage_unet(folder: Path, share: float, seed: int = 0) -> None:
    """Add noise to every weight of a model folder's UNet: `share` of the weights' own deviation."""
    pipe = VidRDPipeline.from_pretrained(folder)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in pipe.unet.parameters():
            weight += share * torch.randn(weight.shape, generator=generator) * weight.std(unbiased=False)
    pipe.unet.save_pretrained(folder / "unet")


def overflow_in_float16(folder: Path, part: str) -> None:
    """Make the UNet or the VAE's decoder compute beyond 65504, float16's largest, and well within float32."""
    pipe = VidRDPipeline.from_pretrained(folder)
    convolution = pipe.unet.conv_in if part == "unet" else pipe.vae.decoder.conv_in
    with torch.no_grad():
        convolution.weight *= 1e5
        convolution.bias *= 1e5
    getattr(pipe, part).save_pretrained(folder / part)
