"""Classifier-free guidance: the UNet's prediction with and without the text, put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from vidrd_model.attention import TextStates
from vidrd_model.deep_features import DeepFeatures
from vidrd_model.errors import ModelError


@dataclass(frozen=True, eq=False)
class TextGuidance:
    """What guides one clip: states b t d of its texts and of what it should not show, and how closely; 1 is without."""

    text_btd: torch.Tensor
    negative_btd: torch.Tensor | None = None
    scale: float = 1.0

    def is_as(self, other: TextGuidance) -> bool:
        """Whether it is the very same tensors and scale."""
        return (
            self.text_btd is other.text_btd
            and self.negative_btd is other.negative_btd
            and self.scale == other.scale
        )


class Predictor:
    """The scheduler's target for the latents of some clips, one behind the other; texts are projected once for all.

    Clips of the very same states share their projection; it is made anew where LoRA layers have got other weights, or
    attention another processor, in between. `rescale` draws the guided target's deviation to that of the prediction
    with the text (arXiv 2305.08891, eq. 15 and 16; 0 leaves it). Raises ModelError where guidance lacks the states of
    what a clip should not show.
    """

    def __init__(
        self,
        unet: Any,
        clips: Sequence[TextGuidance],
        rescale: float = 0.0,
        device: torch.device | None = None,
    ):
        self.unet, self.clips, self.rescale = unet, tuple(clips), rescale
        self.guided = any(clip.scale != 1.0 for clip in clips)
        device = device or unet.device
        states = [clip.text_btd for clip in clips]
        if self.guided:
            negative = [clip.negative_btd for clip in clips if clip.negative_btd is not None]
            if len(negative) < len(clips):
                raise ModelError("guidance needs negative prompts; guidance_scale=1 turns it off")
            states = negative + states
        states = _rows_alike(states)
        self._distinct_btd = list({id(one): one for one in states}.values())
        self._states_btd, self._device = states, device
        self._text, self._projected_by = self._projected(), unet.projection_state()

    def of_same(self, clips: Sequence[TextGuidance]) -> bool:
        """Whether it was made for these."""
        return len(clips) == len(self.clips) and all(map(TextGuidance.is_as, clips, self.clips))

    def __call__(
        self,
        latents_bcnhw: torch.Tensor,
        timestep: torch.Tensor,
        guides: bool = True,
        deep: DeepFeatures | None = None,
    ) -> torch.Tensor:
        """The target for latents b c n h w; in a step that does not guide that of the texts alone, half the work.

        `deep` holds what the UNet need not compute again, or gets it.
        """
        guided = self.guided and guides
        model_input = latents_bcnhw.to(self.unet.dtype)
        if guided:
            model_input = torch.cat([model_input] * 2)
        state = self.unet.projection_state()
        if state != self._projected_by:
            self._text, self._projected_by = self._projected(), state
        text = _last_half(self._text) if self.guided and not guided else self._text
        kept = {}
        if deep is not None:
            deep.are_of(self._text)
            kept["deep"] = deep
        target = self.unet(model_input, timestep, encoder_hidden_states=text, **kept).sample.float()
        if guided:
            without_text, with_text = target.chunk(2)
            target = without_text + self._scale(len(with_text)) * (with_text - without_text)
            if self.rescale:
                target = rescale_deviation(target, with_text, self.rescale)
        return target

    def _projected(self) -> TextStates:
        distinct = self._distinct_btd
        projected: TextStates = self.unet.project_text(torch.cat(distinct).to(self._device, self.unet.dtype))
        if len(distinct) == len(self._states_btd):
            return projected
        return _shared(projected, distinct, self._states_btd)

    def _scale(self, num_rows: int) -> float | torch.Tensor:
        """One number for all clips, or (b, 1, 1, 1, 1) where a callback gave some of them another."""
        scales = [clip.scale for clip in self.clips]
        if len(set(scales)) == 1:
            return scales[0]
        rows = torch.tensor(scales, device=self._device).repeat_interleave(num_rows // len(scales))
        return rows.view(-1, 1, 1, 1, 1)


def _rows_alike(states: list[torch.Tensor]) -> list[torch.Tensor]:
    """States b t d repeated for every frame, (b n) t d, where the frames of one clip have texts of their own."""
    most = max(map(len, states))
    repeated = {
        id(one): one if len(one) == most else one.repeat_interleave(most // len(one), dim=0) for one in states
    }
    return [repeated[id(one)] for one in states]


def _shared(
    projected: TextStates, distinct: Sequence[torch.Tensor], states: Sequence[torch.Tensor]
) -> TextStates:
    """The projections of all `states`, of those of the distinct ones."""
    first_rows, rows_so_far = {}, 0
    for one in distinct:
        first_rows[id(one)], rows_so_far = rows_so_far, rows_so_far + len(one)
    rows = [first_rows[id(one)] + row for one in states for row in range(len(one))]
    if isinstance(projected, torch.Tensor):
        return projected[rows]
    return tuple((keys[rows], values[rows]) for keys, values in projected)


def _last_half(text: TextStates) -> TextStates:
    """Those of the texts themselves, behind what their clips should not show."""
    if isinstance(text, torch.Tensor):
        return text[len(text) // 2 :]
    return tuple((keys[len(keys) // 2 :], values[len(values) // 2 :]) for keys, values in text)


def rescale_deviation(
    guided_bcnhw: torch.Tensor, with_text_bcnhw: torch.Tensor, share: float
) -> torch.Tensor:
    """`share` of the guided target, as wide as the prediction with the text, and the rest as it is; video by video."""
    dims = tuple(range(1, guided_bcnhw.ndim))
    wanted_b111 = with_text_bcnhw.std(dim=dims, keepdim=True)
    as_wide = guided_bcnhw * (wanted_b111 / guided_bcnhw.std(dim=dims, keepdim=True))
    return share * as_wide + (1 - share) * guided_bcnhw
