"""Rows of a small dataset's tables, and a way to commit them, for the tests of storage."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from storage.dataset.clip_dataset import ClipDataset
from storage.dataset.schema import split_of
from storage.dataset.tables import write_rows
from storage.dataset.writer import DatasetWriter, SourceGroup

SHAPE = (4, 4, 2, 2)


def clip_row(source: str, number: int = 0, video: bytes | None = None, **other) -> dict[str, Any]:
    rng = np.random.default_rng(sum(map(ord, source)) + number)
    row = {
        "clip_id": f"{source}-{number}",
        "source_id": source,
        "source_uri": f"{source}.mp4",
        "source_digest": f"digest of {source}",
        "corpus": "walks",
        "kind": "short-videos" if video else "images",
        "licence": "CC0-1.0",
        "split": split_of(source),
        "start_s": 0.5,
        "fps": 8.0,
        "num_frames": SHAPE[0],
        "source_width": 64,
        "source_height": 48,
        "source_duration_s": 2.5 if video else None,
        "caption": f"caption of {source}",
        "caption_given": f"Caption  of {source}",
        "caption_origin": "given",
        "params": "{}",
        "clip_score": 0.25,
        "clip_score_min": 0.125,
        "scorer": "c",
        "aesthetic": None,
        "motion": 2.0,
        "jump": 1.0,
        "brightness": 80.0,
        "frozen": 0.0,
        "fingerprint": rng.bytes(576),
        "duplicate_of": None,
        "clip_features": rng.standard_normal(SHAPE[0] * 8).astype(np.float16),
        "latents_std": None,
        "encoder": "v",
        "latents": rng.standard_normal(SHAPE).astype(np.float16),
        "video": video,
    }
    return row | other


def source_row(source: str, size_bytes: int = 1, failed_stage: str | None = None) -> dict[str, Any]:
    return {
        "source_id": source,
        "source_uri": f"{source}.mp4",
        "place": '{"url": "/walks/x.mp4"}',
        "source_digest": f"digest of {source}",
        "corpus": "walks",
        "kind": "images",
        "licence": "CC0-1.0",
        "split": None,
        "size_bytes": size_bytes,
        "mtime_ns": 1,
        "labels": "c",
        "settings": "s",
        "clips": 1,
        "failed_stage": failed_stage,
    }


def quarantine_row(source: str) -> dict[str, Any]:
    return {
        "source_id": source,
        "source_uri": f"{source}.mp4",
        "corpus": "walks",
        "kind": "images",
        "stage": "decode",
        "error": "no frames",
        "attempts": 1,
    }


def commit(
    folder: Path,
    clips: Iterable = (),
    rejected: Iterable = (),
    quarantine: Iterable = (),
    sources: Iterable = (),
) -> str:
    """Commit one group and return the tag of the build."""
    with DatasetWriter(folder, SHAPE) as writer:
        group = SourceGroup(
            list(sources),
            list(quarantine),
            write_rows(folder, "clips", list(clips)),
            write_rows(folder, "rejected", list(rejected)),
        )
        writer.commit(group)
        return writer.finish({}).tag


def clip_ids(ref: str | Path) -> list[str]:
    return sorted(ClipDataset.open(ref).clips.read(["clip_id"])["clip_id"].to_pylist())
