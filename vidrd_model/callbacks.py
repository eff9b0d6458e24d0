"""What a caller sees and changes at the end of a step: diffusers' `callback_on_step_end`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback

from vidrd_model.errors import ModelError
from vidrd_model.guidance import TextGuidance
from vidrd_model.sampling import Cancelled, ClipSampler, OnStepEnd

Callback = Callable[[Any, int, Any, dict[str, Any]], dict[str, Any] | None]

TENSOR_INPUTS = ("latents", "prompt_embeds", "negative_prompt_embeds", "clip")
"""What a callback may ask for; `clip` is the number of the clip, no tensor."""


class StepCallback:
    """Calls a user's callback with what it asked for, and hands what it returns to the sampler.

    It may also set `pipe.interrupt`, which ends the clips that are being sampled, and `pipe._guidance_scale`, which
    holds for the rest of the clip; 1 or less turns guidance off, as in diffusers. Each clip of a window has
    embeddings and a scale of its own, and what is done to one must depend on nothing of another. Raises ModelError for
    names that are none, and for embeddings of another shape.
    """

    def __init__(self, pipe: Any, callback: Callback | None, names: Sequence[str]):
        if isinstance(callback, PipelineCallback | MultiPipelineCallbacks):
            names = callback.tensor_inputs
        for name in names:
            if name not in TENSOR_INPUTS:
                known = ", ".join(TENSOR_INPUTS)
                raise ModelError(f"callback_on_step_end_tensor_inputs takes {known}, not {name!r}")
        self.pipe, self.callback, self.names = pipe, callback, tuple(names)

    def of_clip(
        self,
        clip: int,
        place: int,
        sampler: ClipSampler,
        text_btd: torch.Tensor,
        negative_text_btd: torch.Tensor | None,
        bar: Any,
    ) -> OnStepEnd:
        """The sampler's own callback for one clip, which begins with these texts and has that place in its window."""
        state: dict[str, Any] = {
            "prompt_embeds": text_btd,
            "negative_prompt_embeds": negative_text_btd,
            "clip": clip,
        }
        first = scale = sampler.options.guidance_scale

        def on_step_end(
            step: int, timestep: torch.Tensor, latents_bcnhw: torch.Tensor
        ) -> torch.Tensor | None:
            nonlocal scale
            bar.update()
            if self.callback is None:
                replaced: dict[str, Any] = {}
            else:
                state["latents"] = latents_bcnhw
                self.pipe._guidance_scale = scale  # another clip of the window may have another
                shown = {name: state[name] for name in self.names}
                replaced = self.callback(self.pipe, step, timestep, shown) or {}
            if self.pipe.interrupt:
                raise Cancelled
            if self._changed(state, replaced) or self.pipe.guidance_scale != scale:
                scale = self.pipe.guidance_scale
                guidance = scale if scale == first else max(scale, 1.0)
                texts = state["prompt_embeds"], state["negative_prompt_embeds"]
                sampler.recondition(place, TextGuidance(*texts, guidance))
            return replaced.get("latents")

        return on_step_end

    def _changed(self, state: dict[str, Any], replaced: dict[str, Any]) -> bool:
        """Takes over other embeddings; whether there are some."""
        changed = False
        for name in ("prompt_embeds", "negative_prompt_embeds"):
            new, old = replaced.get(name), state[name]
            if new is None or new is old:
                continue
            if new.shape != old.shape:
                raise ModelError(
                    f"{name} of a callback must stay {tuple(old.shape)}, not become {tuple(new.shape)}"
                )
            state[name], changed = new, True
        return changed
