"""How the two trainings run: typed, because people write them into profiles."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Trainable = Literal["temporal", "paper", "all"]


class TrainingSettings(BaseModel):
    """What both trainings have in common. The authors published none of these numbers: all are ours."""

    model_config = ConfigDict(extra="forbid")

    steps: int = Field(ge=1)
    batch_size: int = Field(8, ge=1, description="clips per step, over all workers")
    lr: float = Field(1e-4, gt=0, description="the highest learning rate, reached after the warm-up")
    warmup_steps: int = Field(100, ge=0)
    weight_decay: float = Field(0.01, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    ema_decay: float = Field(0.999, ge=0, lt=1, description="0 keeps the last weights")
    gradient_checkpointing: bool = False
    num_workers: int = Field(2, ge=1)
    use_gpu: bool = Field(False, description="one GPU per worker")
    seed: int = Field(0, ge=0)
    log_every: int = Field(10, ge=1, description="steps between two progress reports")
    checkpoint_every: int = Field(200, ge=1, description="steps between two checkpoints; one more at the end")
    max_failures: int = Field(1, ge=0, description="restarts from the last checkpoint when a worker dies")
    heldout_samples: int = Field(128, ge=1)

    @model_validator(mode="after")
    def _batch_divides(self) -> Self:
        if self.batch_size % self.num_workers:
            raise ValueError(f"batch_size {self.batch_size} is no multiple of num_workers {self.num_workers}")
        return self


class TemporalSettings(TrainingSettings):
    """Training of the UNet on latents and captions."""

    steps: int = Field(10_000, ge=1)
    trainable: Trainable = Field("temporal", description="paper: with self- and cross-attention too")
    caption_dropout: float = Field(0.1, ge=0, le=1, description="share of clips that lose their caption")


class DecoderSettings(TrainingSettings):
    """Training of the decoder's temporal layers on the pixels of real clips."""

    steps: int = Field(2_000, ge=1)
    batch_size: int = Field(2, ge=1, description="clips per step, over all workers")
    heldout_samples: int = Field(16, ge=1)
    temporal_weight: float = Field(1.0, ge=0, description="weight of the L1 between changes of the frames")
    perceptual_weight: float = Field(
        0.0, ge=0, description="weight of LPIPS; 0 is off, and so is a machine without the weights of VGG16"
    )
    adversarial_weight: float = Field(
        0.0, ge=0, description="pull of the 3-D discriminator over that of the other losses; 0 is off"
    )
    adversarial_from_step: int = Field(0, ge=0, description="the step in which the discriminator joins")
