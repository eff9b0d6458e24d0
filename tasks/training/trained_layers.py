"""Which layers of a UNet are trained."""

from __future__ import annotations

from tasks.training.settings import TemporalSettings
from vidrd_model import TemporalUNet
from vidrd_model.lora_training import add_lora


def set_trained(unet: TemporalUNet, settings: TemporalSettings) -> list[str]:
    """Freezes a UNet but for what the settings train, LoRA layers put in for it; returns the parameters' names."""
    if settings.trainable != "lora":
        return unet.set_trainable(settings.trainable)
    lora = settings.lora
    return add_lora(
        unet,
        rank=lora.rank,
        alpha=lora.alpha or lora.rank,
        targets=lora.targets,
        temporal_whole=lora.temporal == "whole",
        dora=lora.dora,
        rslora=lora.rslora,
        seed=settings.seed,
    )
