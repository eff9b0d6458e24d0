"""What to change in the settings of a training whose model does not fit."""

from __future__ import annotations

from tasks.training.settings import TrainingSettings


def to_need_less_memory(settings: TrainingSettings) -> str:
    """What is left to try, in the order of its price, in one line."""
    share = settings.batch_size // settings.num_workers
    here = min(settings.micro_batch or share, share)
    advice = [f"micro_batch below {here}"] if here > 1 else []
    advice += [] if settings.precision == "bfloat16" else ['precision = "bfloat16"']
    advice += [] if settings.gradient_checkpointing else ["gradient_checkpointing = true"]
    advice += [] if settings.optimizer == "adamw8bit" else ['optimizer = "adamw8bit"']
    advice += [] if settings.sharding == "fsdp" else ['sharding = "fsdp"']
    return ", then ".join(advice) or "smaller clips or a larger device"
