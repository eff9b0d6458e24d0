"""A pipeline as tests load one: without a progress bar in their output."""

from pathlib import Path
from typing import Any

from vidrd_model import VidRDPipeline


def quiet_pipeline(folder: str | Path, **loading: Any) -> VidRDPipeline:
    """Loads a model folder; `loading` is what `from_pretrained` takes."""
    pipe = VidRDPipeline.from_pretrained(folder, **loading)
    pipe.set_progress_bar_config(disable=True)
    return pipe
