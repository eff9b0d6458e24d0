"""The columns of a dataset's four tables, and rows (plain dicts) made into Arrow tables of them."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import pyarrow as pa

TABLES = ("clips", "rejected", "quarantine", "sources")
"""In the order a build commits them: the ledger `sources` last, so it never claims what is not there."""

LatentShape = tuple[int, int, int, int]
"""Frames, channels, height, width of one clip's latents."""

_CLIP_FIELDS = [
    ("clip_id", pa.string()),
    ("source_id", pa.string()),
    ("source_uri", pa.string()),
    ("corpus", pa.string()),
    ("kind", pa.string()),
    ("licence", pa.string()),
    ("split", pa.string()),
    ("start_s", pa.float64()),
    ("fps", pa.float64()),
    ("num_frames", pa.int32()),
    ("caption", pa.string()),
    ("caption_origin", pa.string()),
    ("params", pa.string()),  # JSON: what was drawn to cut the clip from its source
    ("clip_score", pa.float32()),
    ("scorer", pa.string()),  # digest of the CLIP model behind clip_score
    ("encoder", pa.string()),  # digest of the VAE behind latents
]

_QUARANTINE_FIELDS = [
    ("source_id", pa.string()),
    ("source_uri", pa.string()),
    ("corpus", pa.string()),
    ("kind", pa.string()),
    ("stage", pa.string()),
    ("error", pa.string()),
    ("attempts", pa.int32()),
]

_SOURCES_FIELDS = [
    ("source_id", pa.string()),
    ("source_uri", pa.string()),
    ("corpus", pa.string()),
    ("kind", pa.string()),
    ("licence", pa.string()),
    ("size_bytes", pa.int64()),
    ("mtime_ns", pa.int64()),
    ("labels", pa.string()),  # digest of what the reader says of it: captions, kind, licence, problem
    ("settings", pa.string()),  # digest of everything else that decides the rows
    ("clips", pa.int32()),
    ("rejected", pa.int32()),
    ("failed_stage", pa.string()),  # null when the source went through
]


def table_schema(table: str, latent_shape: LatentShape) -> pa.Schema:
    """The Arrow schema of one of `TABLES` for clips of this latent shape."""
    if table == "quarantine":
        return pa.schema(_QUARANTINE_FIELDS)
    if table == "sources":
        return pa.schema(_SOURCES_FIELDS)
    from lance.blob import blob_field

    fields = [pa.field(name, kind) for name, kind in _CLIP_FIELDS]
    fields.append(pa.field("latents", pa.fixed_shape_tensor(pa.float16(), list(latent_shape))))
    fields.append(blob_field("video"))
    if table == "rejected":
        fields.append(pa.field("reason", pa.string()))
    return pa.schema(fields)


def rows_table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """An Arrow table of `rows`; `latents` are float16 arrays or None, `video` mp4 bytes or None."""
    from lance.blob import blob_array

    columns = []
    for field in schema:
        values = [row[field.name] for row in rows]
        if field.name == "latents":
            flat = [None if value is None else value.reshape(-1) for value in values]
            storage = pa.array(flat, field.type.storage_type)
            columns.append(pa.ExtensionArray.from_storage(field.type, storage))
        elif field.name == "video":
            columns.append(blob_array(values))
        else:
            columns.append(pa.array(values, field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def split_of(source_id: str) -> str:
    """The split of everything cut from a source, by a hash of it: 90 % train, 5 % val, 5 % test."""
    bucket = int.from_bytes(blake2b(source_id.encode(), digest_size=8).digest(), "big") % 100
    return "train" if bucket < 90 else "val" if bucket < 95 else "test"
