"""The class of this model, for diffusers: `DiffusionPipeline.from_pretrained(MODEL, trust_remote_code=True)`.

It comes from the package vidrd, which has to be installed.
"""

from vidrd_model.unet import TemporalUNet

__all__ = ["TemporalUNet"]
