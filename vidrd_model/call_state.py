"""What users of diffusers ask of a pipeline while it runs, mostly from a callback: of that call, or of the last one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class CallState:
    """The properties of a call under their names in diffusers; a callback may set `interrupt`, or `_guidance_scale`."""

    _interrupt = False
    _guidance_scale: float
    _num_timesteps = 0
    _num_videos = 0
    _clip_skip: int | None = None
    _attention_kwargs: Mapping[str, Any] | None = None

    @property
    def interrupt(self) -> bool:
        """Whether the call shall end after its step."""
        return self._interrupt

    @interrupt.setter
    def interrupt(self, value: bool) -> None:
        self._interrupt = value

    @property
    def guidance_scale(self) -> float:
        """How closely the text is followed; 1 is without guidance."""
        return self._guidance_scale

    @property
    def do_classifier_free_guidance(self) -> bool:
        """Whether the UNet computes both with and without the text."""
        return self._guidance_scale != 1.0

    @property
    def num_timesteps(self) -> int:
        """The steps of each clip."""
        return self._num_timesteps

    @property
    def clip_skip(self) -> int | None:
        """The last layers of the text encoder that are left out."""
        return self._clip_skip

    @property
    def attention_kwargs(self) -> Mapping[str, Any] | None:
        """What attention takes beside its input: the scale of LoRA layers."""
        return self._attention_kwargs
