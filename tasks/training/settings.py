"""How the two trainings run: typed, because people write them into profiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from storage.dataset.columns import Kind
from storage.local.typed_fields import TypedText

Part = Literal["temporal", "decoder"]
PARTS: tuple[Part, ...] = ("temporal", "decoder")
"""In the order of their training: the decoder's starts from whatever the UNet's has written."""
Trainable = Literal["temporal", "paper", "all", "lora"]
LoraTargets = Literal["temporal", "cross-attention", "all"]
Precision = Literal["float32", "bfloat16"]
Mix = Mapping[Kind, float]
CaptionOrigin = Literal["corpus", "model"]
CaptionMix = Mapping[CaptionOrigin, float]

# What says how the work is done, not what comes out of it: a training may go on with other values.
WITHOUT_EFFECT = frozenset(
    {
        "num_workers",
        "use_gpu",
        "threads",
        "loader_workers",
        "checkpoints",
        "log_every",
        "checkpoint_every",
        "keep_checkpoints",
        "max_failures",
    }
)


LATER_SETTINGS = frozenset({"caption_mix"})
"""Settings that trainings of earlier versions lack: where they are None, such a training goes on."""


class TrainingSettings(BaseModel):
    """What both trainings have in common. The authors published none of these numbers: all are ours."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    steps: int = Field(ge=1)
    batch_size: int = Field(8, ge=1, description="clips per step, over all workers")
    micro_batch: int | None = Field(
        None, ge=1, description="clips that a worker has in work at once; none: its whole share of the batch"
    )
    lr: float = Field(1e-4, gt=0, description="the highest learning rate, reached after the warm-up")
    warmup_steps: int = Field(100, ge=0)
    weight_decay: float = Field(0.01, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    ema_decay: float = Field(0.999, ge=0, lt=1, description="0 keeps the last weights")
    optimizer: Literal["adamw", "adamw8bit"] = Field("adamw", description="adamw8bit: the extra optim8bit")
    precision: Precision = Field(
        "float32", description="bfloat16: computes and keeps frozen weights so; trained ones stay float32"
    )
    gradient_checkpointing: bool = False
    compile: bool = Field(
        False, description="torch.compile, block by block: minutes at the start for faster steps"
    )
    sharding: Literal["ddp", "fsdp"] = Field("ddp", description="fsdp: for models too large for one GPU")
    num_workers: int = Field(2, ge=1)
    use_gpu: bool = Field(False, description="one GPU per worker")
    threads: int | None = Field(
        None, ge=1, description="CPU threads per worker; none: its share of the cores"
    )
    loader_workers: int = Field(
        0, ge=0, description="processes per worker that read ahead; 0: it reads itself"
    )
    seed: int = Field(0, ge=0)
    mix: Mix | None = Field(
        None, description="shares of images, short-videos and long-videos; none: as many as there are"
    )
    log_every: int = Field(10, ge=1, description="steps between two progress reports")
    validate_every: int | None = Field(
        None,
        ge=1,
        description="steps between two looks at the held-out clips; none: at the start and the end",
    )
    heldout_samples: int = Field(128, ge=1)
    checkpoints: TypedText | None = Field(
        None, description="folder or address (s3://...) for checkpoints; none: the training's own folder"
    )
    checkpoint_every: int = Field(200, ge=1, description="steps between two checkpoints; one more at the end")
    keep_checkpoints: int = Field(2, ge=1, description="the newest so many stay")
    max_failures: int = Field(3, ge=0, description="restarts from the last checkpoint when workers die")
    max_bad_steps: int = Field(
        10, ge=1, description="steps in a row whose loss is not finite, after which the training ends"
    )

    @model_validator(mode="after")
    def _batch_divides(self) -> Self:
        if self.batch_size % self.num_workers:
            raise ValueError(f"batch_size {self.batch_size} is no multiple of num_workers {self.num_workers}")
        if self.mix is not None and not (
            all(share >= 0 for share in self.mix.values()) and sum(self.mix.values()) > 0
        ):
            raise ValueError("mix: shares must be 0 or more, and one of them more than 0")
        return self


class LoraSettings(BaseModel):
    """Which LoRA layers are trained where `trainable` is lora."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    rank: int = Field(16, ge=1)
    alpha: float | None = Field(None, gt=0, description="none: the rank, so that layers count as they are")
    targets: LoraTargets = Field(
        "all",
        description="of image layers: none (temporal), cross-attention, or all attention and feed-forward",
    )
    temporal: Literal["whole", "lora"] = Field(
        "whole", description="temporal layers: trained themselves, or LoRA layers of temporal attention"
    )
    dora: bool = Field(False, description="weights by magnitude and direction (arXiv 2402.09353)")
    rslora: bool = Field(False, description="scaled by the root of the rank (arXiv 2312.03732)")

    @model_validator(mode="after")
    def _layers_go_together(self) -> Self:
        if self.targets == "temporal" and self.temporal == "whole":
            raise ValueError(
                'targets temporal leaves no LoRA layer where temporal is whole: set temporal to "lora"'
            )
        if self.dora and self.temporal == "lora":
            raise ValueError(
                'dora: temporal layers begin as zeros, which have no direction; set temporal to "whole"'
            )
        return self


class TemporalSettings(TrainingSettings):
    """Training of the UNet on latents and captions."""

    steps: int = Field(10_000, ge=1)
    trainable: Trainable = Field(
        "temporal", description="paper: with self- and cross-attention too; lora: as the table lora says"
    )
    caption_dropout: float = Field(0.1, ge=0, le=1, description="share of clips that lose their caption")
    caption_mix: CaptionMix | None = Field(
        None,
        description="weights of a clip's captions by where they come from, corpus and model; none: the caption it has",
    )
    text_states: Literal["encode", "stored"] = Field(
        "encode", description="stored: those that a build with text_states wrote, in float16"
    )
    snr_gamma: float | None = Field(
        None, gt=0, description="min-SNR weighting; 5 is usual; none: no weighting"
    )
    offset_noise: float = Field(0.0, ge=0, description="strength of a constant added to the noise of a clip")
    noise_alpha: float = Field(
        0.0, ge=0, description="progressive noise prior: how much a frame's noise shares with the one before"
    )
    sample_every: int | None = Field(None, ge=1, description="steps between two sets of sample videos")
    sample_prompts: list[str] = Field(
        [], description="prompts of the sample videos; none: captions of two held-out clips"
    )
    # Last: a section within one ends it in a profile's file.
    lora: LoraSettings = LoraSettings()

    @model_serializer(mode="wrap")
    def _without_what_has_no_effect(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = written(self)
        if self.trainable != "lora":  # nor have trainings of earlier versions one
            values.pop("lora", None)
        return values

    @model_validator(mode="after")
    def _captions_can_be_mixed(self) -> Self:
        mix = self.caption_mix
        if mix is not None and not (all(weight >= 0 for weight in mix.values()) and sum(mix.values()) > 0):
            raise ValueError("caption_mix: weights must be 0 or more, and one of them more than 0")
        if mix is not None and self.text_states == "stored":
            raise ValueError(
                "caption_mix: builds store text states of a clip's own caption alone; set text_states to encode"
            )
        return self


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


def less_memory_advice(settings: TrainingSettings) -> str:
    """Says in one line which settings are left that need less memory, the cheapest first."""
    share = settings.batch_size // settings.num_workers
    here = min(settings.micro_batch or share, share)
    advice = [f"micro_batch below {here}"] if here > 1 else []
    advice += [] if settings.precision == "bfloat16" else ['precision = "bfloat16"']
    advice += [] if settings.gradient_checkpointing else ["gradient_checkpointing = true"]
    advice += [] if settings.optimizer == "adamw8bit" else ['optimizer = "adamw8bit"']
    advice += [] if settings.sharding == "fsdp" else ['sharding = "fsdp"']
    return ", then ".join(advice) or "smaller clips or a larger device"
