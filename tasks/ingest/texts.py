"""The states of every distinct caption, made once and kept beside the clips, so that training need not make them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from storage.dataset.writer import DatasetWriter
from tasks.captions.text_states import TextEncoder, text_encoder_digest
from tasks.cluster import ensure_ray
from tasks.ingest.pool import result_of

CAPTIONS_PER_TASK = 256


def write_text_states(writer: DatasetWriter, model: str, report: Callable[[str], None]) -> int:
    """Bring the table of text states up to date with the captions of `clips`; how many were made."""
    digest = text_encoder_digest(model)
    captions = writer.captions_without_states(digest)
    if not captions:
        return 0
    ensure_ray()
    import ray

    report(f"text states of {len(captions)} captions")
    # One actor: text is a small part of the work. Where the judges hold every GPU it shares one of theirs.
    gpus = min(1, int(ray.available_resources().get("GPU", 0)))
    encoder = ray.remote(num_cpus=0, num_gpus=gpus, max_restarts=-1, max_task_retries=3)(_Encoder).remote(
        model
    )
    for start in range(0, len(captions), CAPTIONS_PER_TASK):
        part = captions[start : start + CAPTIONS_PER_TASK]
        writer.add_states(part, result_of(encoder.encode.remote(part)), digest)
    ray.kill(encoder)
    return len(captions)


class _Encoder:
    """A text encoder as an actor: loaded once for all parts."""

    def __init__(self, model: str) -> None:
        self._encoder = TextEncoder(model)

    def encode(self, captions: list[str]) -> np.ndarray:
        return self._encoder.encode(captions)
