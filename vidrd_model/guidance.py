"""Classifier-free guidance: the UNet's prediction with and without the text, put together."""

from __future__ import annotations

from typing import Any

import torch

from vidrd_model.errors import ModelError


class Predictor:
    """The scheduler's target for latents, with guidance; the text is projected once for all steps.

    `rescale` draws the guided target's deviation to that of the prediction with the text (arXiv 2305.08891, eq. 15 and
    16; 0 leaves it).
    """

    def __init__(
        self,
        unet: Any,
        guidance_scale: float,
        text_btd: torch.Tensor,
        negative_text_btd: torch.Tensor | None,
        rescale: float = 0.0,
        device: torch.device | None = None,
    ):
        self.unet, self.guidance_scale, self.rescale = unet, guidance_scale, rescale
        self.text_btd, self.negative_text_btd = text_btd, negative_text_btd
        self.guided = guidance_scale != 1.0
        if self.guided:
            if negative_text_btd is None:
                raise ModelError("guidance needs negative prompts; guidance_scale=1 turns it off")
            text_btd = torch.cat([negative_text_btd, text_btd])
        self.projected = unet.project_text(text_btd.to(device or unet.device, unet.dtype))

    def __call__(self, latents_bcnhw: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        model_input = latents_bcnhw.to(self.unet.dtype)
        if self.guided:
            model_input = torch.cat([model_input] * 2)
        target = self.unet(model_input, timestep, encoder_hidden_states=self.projected).sample.float()
        if self.guided:
            without_text, with_text = target.chunk(2)
            target = without_text + self.guidance_scale * (with_text - without_text)
            if self.rescale:
                target = rescale_deviation(target, with_text, self.rescale)
        return target


def rescale_deviation(
    guided_bcnhw: torch.Tensor, with_text_bcnhw: torch.Tensor, share: float
) -> torch.Tensor:
    """`share` of the guided target, as wide as the prediction with the text, and the rest as it is; video by video."""
    dims = tuple(range(1, guided_bcnhw.ndim))
    wanted_b111 = with_text_bcnhw.std(dim=dims, keepdim=True)
    as_wide = guided_bcnhw * (wanted_b111 / guided_bcnhw.std(dim=dims, keepdim=True))
    return share * as_wide + (1 - share) * guided_bcnhw
