"""VidRD as a plain torch and diffusers library: the temporal UNet and VAE, latent reuse, and the pipeline.

Axis legend for tensor names: b videos, c channels, n frames, h height, w width, s spatial tokens, t text tokens,
d text width. A folded tensor has its frames in the batch: (b n) c h w.

Its classes are imported when they are first asked for: torch and diffusers take seconds, which commands and layers
that only need `vidrd_model.errors` shall not wait for.
"""

from typing import TYPE_CHECKING

from vidrd_model.lazy import lazy_names

if TYPE_CHECKING:
    from vidrd_model.errors import ModelError, VidrdError
    from vidrd_model.pipeline import VidRDPipeline
    from vidrd_model.unet import TemporalUNet
    from vidrd_model.vae import TemporalVAE

__all__ = ["ModelError", "TemporalUNet", "TemporalVAE", "VidRDPipeline", "VidrdError"]

__getattr__ = lazy_names(
    __name__,
    {
        "ModelError": "errors",
        "TemporalUNet": "unet",
        "TemporalVAE": "vae",
        "VidRDPipeline": "pipeline",
        "VidrdError": "errors",
    },
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
