"""LoRA files that a generation uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vidrd_model.pipeline import VidRDPipeline


@dataclass(frozen=True)
class WeightedLora:
    """A file, and what its layers count."""

    file: Path
    weight: float = 1.0


def load_loras(pipe: VidRDPipeline, loras: Sequence[WeightedLora]) -> None:
    """Puts all of them into a pipeline; ModelError, naming the file, for one that does not fit its model."""
    names = [f"lora_{place}" for place in range(len(loras))]
    for name, lora in zip(names, loras, strict=True):
        pipe.load_lora_weights(lora.file, adapter_name=name)
    if loras:
        pipe.set_adapters(names, [lora.weight for lora in loras])
