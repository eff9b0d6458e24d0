"""Reads a corpus without a corpora file, for tests of the readers."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tasks.corpora.corpus import Corpus
from tasks.corpora.readers import read_sources
from tasks.corpora.records import SourceRecord


def read_records(
    path: Path | str,
    kind: str = "images",
    layout: str = "folder",
    captions_needed: bool = True,
    **more: Any,
) -> dict[str, SourceRecord]:
    """The records of a corpus by their uris, in the order in which they came."""
    records = list(read_sources(corpus_of(path, kind, layout, **more), captions_needed))
    assert len({record.source_id for record in records}) == len(records)
    return {record.uri: record for record in records}


def corpus_of(path: Path | str, kind: str = "images", layout: str = "folder", **more: Any) -> Corpus:
    """A corpus without a corpora file."""
    table = {"name": "c", "kind": kind, "format": layout, "path": path, "licence": "CC0-1.0", **more}
    return Corpus.model_validate(table)


def problems(records: dict[str, SourceRecord]) -> dict[str, str | None]:
    """What is wrong with each source."""
    return {uri: record.problem for uri, record in records.items()}


def write_image(path: Path, shade: int = 0) -> Path:
    """A small image of one shade."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), shade, np.uint8)).save(path)
    return path
