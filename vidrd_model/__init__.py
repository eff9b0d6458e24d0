"""VidRD as a plain torch and diffusers library: the temporal UNet and VAE, latent reuse, and the pipeline.

Axis legend for tensor names: b videos, c channels, n frames, h height, w width, s spatial tokens, t text tokens,
d text width. A folded tensor has its frames in the batch: (b n) c h w.

Its classes are imported when they are first asked for: torch and diffusers take seconds, which commands and layers
that only need `vidrd_model.errors` shall not wait for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vidrd_model.errors import ModelError, VidrdError
    from vidrd_model.pipeline import VidRDPipeline
    from vidrd_model.unet import TemporalUNet
    from vidrd_model.vae import TemporalVAE

__all__ = ["ModelError", "TemporalUNet", "TemporalVAE", "VidRDPipeline", "VidrdError"]

_MODULES = {
    "ModelError": "errors",
    "TemporalUNet": "unet",
    "TemporalVAE": "vae",
    "VidRDPipeline": "pipeline",
    "VidrdError": "errors",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
