"""Latents and frames that are not finite: named with the precision, so that no black video passes for a result."""

from __future__ import annotations

import torch

from vidrd_model.errors import ModelError

_NEVER = 2**31 - 1


class FiniteSteps:
    """Notes the first step whose latents are not finite, on their device: asking in every step would stall a GPU."""

    def __init__(self, device: torch.device):
        self._first = torch.full((), _NEVER, dtype=torch.int32, device=device)
        self._step = 0

    def note(self, latents_bcnhw: torch.Tensor) -> None:
        """Look at what comes out of the next step."""
        found = torch.where(torch.isfinite(latents_bcnhw).all(), _NEVER, self._step).to(self._first)
        self._first = torch.minimum(self._first, found)
        self._step += 1

    def check(self, num_steps: int, dtype: torch.dtype) -> None:
        """ModelError when there was such a step, naming it and the precision that the UNet computes in."""
        first = int(self._first)
        if first != _NEVER:
            raise ModelError(
                f"the latents are not finite after step {first + 1} of {num_steps}: the UNet computes in "
                f"{_name(dtype)}; {_advice(dtype)}"
            )


def check_frames(frames: torch.Tensor, dtype: torch.dtype) -> None:
    """ModelError when decoded frames are not finite, naming the precision that the VAE computes in."""
    if not bool(torch.isfinite(frames).all()):
        raise ModelError(
            "the decoded frames are not finite, after the last step: the VAE computes in "
            f"{_name(dtype)}; {_advice(dtype)}"
        )


def _advice(dtype: torch.dtype) -> str:
    if dtype == torch.float32:
        return "set a lower guidance_scale, or use another model: these weights overflow in every precision"
    others = "float32" if dtype == torch.bfloat16 else "bfloat16 or float32"
    return f"set dtype to {others} (dtype in [sampling] of the profile, or of from_pretrained)"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
