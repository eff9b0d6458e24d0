"""The states of every distinct caption, made once and kept beside the clips, so that training need not make them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from storage.dataset.writer import DatasetWriter
from tasks.ingest.executor import EncodeTexts

CAPTIONS_PER_CALL = 256


def write_text_states(
    writer: DatasetWriter,
    captions: Sequence[str],
    encode: EncodeTexts,
    digest: str,
    report: Callable[[str], None],
) -> None:
    """Makes the states of captions with the model of this digest, and commits them part by part."""
    report(f"text states of {len(captions)} captions")
    for start in range(0, len(captions), CAPTIONS_PER_CALL):
        part = list(captions[start : start + CAPTIONS_PER_CALL])
        writer.add_states(part, encode(part), digest)
