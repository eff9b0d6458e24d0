"""VidRD as a plain torch and diffusers library: the temporal UNet and VAE, latent reuse, and the pipeline.

Axis legend for tensor names: b videos, c channels, n frames, h height, w width, s spatial tokens, t text tokens,
d text width. A folded tensor has its frames in the batch: (b n) c h w.
"""

from vidrd_model.errors import ModelError
from vidrd_model.pipeline import VidRDPipeline
from vidrd_model.unet import TemporalUNet
from vidrd_model.vae import TemporalVAE

__all__ = ["ModelError", "TemporalUNet", "TemporalVAE", "VidRDPipeline"]
