"""The states of every distinct caption, made once and kept beside the clips, so that training need not make them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import ray

from storage.dataset.writer import DatasetWriter
from tasks.ingest.pool import TextActor, errors_of_ours

CAPTIONS_PER_TASK = 256


def write_text_states(
    writer: DatasetWriter, captions: Sequence[str], model: str, digest: str, report: Callable[[str], None]
) -> None:
    """Makes the states of captions with the model of this digest, and commits them part by part."""
    report(f"text states of {len(captions)} captions")
    # One actor: text is a small part of the work. Where the scoring actors hold every GPU it shares one of theirs.
    gpus = min(1, int(ray.available_resources().get("GPU", 0)))
    actor_class = ray.remote(num_cpus=0, num_gpus=gpus, max_restarts=-1, max_task_retries=3)(TextActor)
    encoder = actor_class.remote(model)
    with errors_of_ours():
        for start in range(0, len(captions), CAPTIONS_PER_TASK):
            part = list(captions[start : start + CAPTIONS_PER_TASK])
            writer.add_states(part, ray.get(encoder.encode.remote(part)), digest)
    ray.kill(encoder)
