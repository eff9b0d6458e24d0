"""How a call samples: what the caller gives, else what is saved with the model, else what the paper published."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

from vidrd_model.errors import ModelError
from vidrd_model.sampling_options import SamplingOptions

_WHOLE = ("num_frames", "num_inference_steps", "cache_interval", "prompt_frames", "height", "width")


@dataclass(frozen=True)
class CallSettings:
    """The settings of a call of `VidRDPipeline`; the defaults are the published ones (arXiv 2309.03549).

    Sizes are in pixels, None is the model's own.
    """

    num_frames: int = 8
    num_inference_steps: int = 50
    guidance_scale: float = 7.5
    guidance_rescale: float = 0.0
    guidance_start: float = 0.0
    guidance_stop: float = 1.0
    cache_interval: int = 1
    negative_prompt: str | Sequence[str] = ""
    prompt_frames: int = 4
    alpha: float = 4.0
    beta: float = 0.4
    eta: float = 0.0
    noise_alpha: float = 0.0
    height: int | None = None
    width: int | None = None

    @classmethod
    def of(cls, saved: Mapping[str, Any], **given: Any) -> Self:
        """What is given, else what is saved; None is not given."""
        values = {name: value for name, value in saved.items() if name != "fps"}
        values |= {name: value for name, value in given.items() if value is not None}
        for name in ("alpha", "noise_alpha"):
            if name in values:
                values[name] = float(values[name])  # infinity is saved as a text
        return cls(**values)

    def options(
        self, full_prompt_noise: str, prompt_frames: int | None = None, **schedule: Any
    ) -> SamplingOptions:
        """Those of the sampling loop; `schedule` is timesteps or sigmas, and strength."""
        return SamplingOptions(
            num_inference_steps=self.num_inference_steps,
            guidance_scale=self.guidance_scale,
            prompt_frames=self.prompt_frames if prompt_frames is None else prompt_frames,
            alpha=self.alpha,
            beta=self.beta,
            eta=self.eta,
            full_prompt_noise=full_prompt_noise,
            guidance_rescale=self.guidance_rescale,
            guidance_start=self.guidance_start,
            guidance_stop=self.guidance_stop,
            cache_interval=self.cache_interval,
            **schedule,
        )


def saved_settings(sampling: Mapping[str, Any] | None) -> dict[str, Any]:
    """The settings as `model_index.json` holds them: those of a call and `fps`, in plain JSON.

    Raises ModelError, naming the setting, for an unknown one or a value of another kind.
    """
    known = {field.name for field in fields(CallSettings)} | {"fps"}
    saved = {}
    if not isinstance(sampling, Mapping | None):
        raise ModelError(f"sampling must name settings, not be {sampling!r}")
    for name, value in (sampling or {}).items():
        if name not in known:
            raise ModelError(f"sampling has no setting {name!r}; it takes {', '.join(sorted(known))}")
        if value is None:
            continue
        if not _fits(name, value):
            raise ModelError(f"sampling: {name} cannot be {value!r}")
        # Of infinity JSON knows nothing.
        saved[name] = "inf" if isinstance(value, float) and math.isinf(value) else value
    return saved


def _fits(name: str, value: Any) -> bool:
    if name == "negative_prompt":
        return isinstance(value, str)
    if name in ("alpha", "noise_alpha") and value == "inf":
        return True
    if isinstance(value, bool) or not isinstance(value, int if name in _WHOLE else (int, float)):
        return False
    return value >= 0 and (name in ("alpha", "noise_alpha") or math.isfinite(value))
