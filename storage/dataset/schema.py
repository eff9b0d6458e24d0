"""The columns of a dataset's tables, and rows (plain dicts) made into Arrow tables of them."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import pyarrow as pa
from lance.blob import blob_array, blob_field

from storage.dataset.columns import (
    CAPTION,
    CAPTION_CHOICE,
    CAPTIONER,
    CAPTIONS,
    CLIP_FEATURES,
    CLIP_ID,
    CLIP_SCORE,
    DUPLICATE_OF,
    ENCODER,
    FINGERPRINT,
    HELD_TEXT_AREA,
    INTERLACED,
    LATENTS,
    LATENTS_STD,
    MODEL_CAPTIONS,
    NUDITY,
    NUDITY_MODEL,
    NUM_FRAMES,
    PICTURE,
    REASON,
    SCORER,
    SOURCE_DIGEST,
    SOURCE_FILMS,
    SOURCE_ID,
    SOURCE_URI,
    STATES,
    TEXT_AREA,
    TEXT_ENCODER,
    TEXT_FINDER,
)

LatentShape = tuple[int, int, int, int]
"""Frames, channels, height, width of one clip's latents."""

_CLIP_FIELDS = [
    (CLIP_ID, pa.string()),
    (SOURCE_ID, pa.string()),
    (SOURCE_URI, pa.string()),
    (SOURCE_DIGEST, pa.string()),  # blake2b-128 of the source's bytes
    ("corpus", pa.string()),
    ("kind", pa.string()),
    ("licence", pa.string()),
    ("split", pa.string()),
    ("start_s", pa.float64()),
    ("fps", pa.float64()),
    (NUM_FRAMES, pa.int32()),
    ("source_width", pa.int32()),
    ("source_height", pa.int32()),
    ("source_duration_s", pa.float64()),  # null for images
    (CAPTION, pa.string()),
    ("caption_given", pa.string()),  # as the corpus has it, before it was normalised
    ("caption_origin", pa.string()),
    (CAPTIONS, pa.list_(pa.string())),  # all that it could have been, as they are used
    (CAPTION_CHOICE, pa.string()),  # how it was chosen of several: "best" by CLIP, or "drawn"
    ("params", pa.string()),  # JSON: what was drawn to cut the clip from its source
    (CLIP_SCORE, pa.float32()),  # mean over the frames
    ("clip_score_min", pa.float32()),
    (SCORER, pa.string()),  # digest of the CLIP model behind the scores
    ("aesthetic", pa.float32()),  # null without an aesthetic head
    ("motion", pa.float32()),
    ("jump", pa.float32()),
    ("brightness", pa.float32()),
    ("frozen", pa.float32()),
    (PICTURE, pa.float32()),  # share of the frame between black bars
    (INTERLACED, pa.float32()),  # share of the source's frames that were two fields; null for images
    (SOURCE_FILMS, pa.int32()),  # video streams that could have been the film; null for images
    (TEXT_AREA, pa.float32()),  # shares of the frame; null where no filter asked for it
    (HELD_TEXT_AREA, pa.float32()),
    (TEXT_FINDER, pa.string()),  # digest of the network behind the two
    (NUDITY, pa.float32()),
    (NUDITY_MODEL, pa.string()),  # digest of the model behind it
    (MODEL_CAPTIONS, pa.list_(pa.string())),  # what a captioner wrote, beside the caption or as it
    (CAPTIONER, pa.string()),  # name and digest of that model, with its prompts
    (FINGERPRINT, pa.binary()),  # what near-duplicates are found by
    (DUPLICATE_OF, pa.string()),  # the clip that stays instead of this one
    (CLIP_FEATURES, pa.list_(pa.float16())),  # frames x features, flat: scores can be had again from them
    (ENCODER, pa.string()),  # digest of the VAE behind latents
]

LATER_COLUMNS = frozenset(
    {
        PICTURE,
        INTERLACED,
        SOURCE_FILMS,
        CAPTIONS,
        CAPTION_CHOICE,
        TEXT_AREA,
        HELD_TEXT_AREA,
        TEXT_FINDER,
        NUDITY,
        NUDITY_MODEL,
        MODEL_CAPTIONS,
        CAPTIONER,
    }
)
"""Columns of `clips` and `rejected` that tables of earlier versions lack: they read as null, and `complete_columns`
adds them before the first row is written there. A row need not name them."""

_QUARANTINE_FIELDS = [
    (SOURCE_ID, pa.string()),
    (SOURCE_URI, pa.string()),
    ("corpus", pa.string()),
    ("kind", pa.string()),
    ("stage", pa.string()),
    ("error", pa.string()),
    ("attempts", pa.int32()),
]

_SOURCES_FIELDS = [
    (SOURCE_ID, pa.string()),
    (SOURCE_URI, pa.string()),
    ("place", pa.string()),  # JSON: where its bytes were when it was read
    (SOURCE_DIGEST, pa.string()),  # null when it could not be read
    ("corpus", pa.string()),
    ("kind", pa.string()),
    ("licence", pa.string()),
    ("split", pa.string()),  # the corpus's own split, null where it has none
    ("size_bytes", pa.int64()),
    ("mtime_ns", pa.int64()),
    ("labels", pa.string()),  # digest of what the reader says of it: captions, kind, licence, problem
    ("settings", pa.string()),  # digest of everything else that decides which clips it gives
    ("clips", pa.int32()),  # clips made of it, kept or not
    ("failed_stage", pa.string()),  # null when the source went through
]


def table_schema(table: str, latent_shape: LatentShape) -> pa.Schema:
    """Gives the Arrow schema of one of the `TABLES` for clips of this latent shape."""
    if table == "quarantine":
        return pa.schema(_QUARANTINE_FIELDS)
    if table == "sources":
        return pa.schema(_SOURCES_FIELDS)
    fields = [pa.field(name, kind) for name, kind in _CLIP_FIELDS]
    tensor = pa.fixed_shape_tensor(pa.float16(), list(latent_shape))
    fields += [pa.field(LATENTS, tensor), pa.field(LATENTS_STD, tensor)]
    fields.append(blob_field("video"))
    if table == "rejected":
        fields.append(pa.field(REASON, pa.string()))
    return pa.schema(fields)


def column_type(table: str, column: str) -> pa.DataType:
    """Gives the type of a column of one of `TABLES` that is not of tensors."""
    shape_not_read = (1, 1, 1, 1)
    return table_schema(table, shape_not_read).field(column).type


def texts_schema(tokens: int, width: int) -> pa.Schema:
    """Gives the Arrow schema of the table of text states."""
    states = pa.fixed_shape_tensor(pa.float16(), [tokens, width])
    return pa.schema([(CAPTION, pa.string()), (TEXT_ENCODER, pa.string()), (STATES, states)])


def rows_table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Gives an Arrow table of `rows`; tensors are float16 arrays or None, `video` mp4 bytes or None."""
    columns = []
    for field in schema:
        values = [row.get(field.name) if field.name in LATER_COLUMNS else row[field.name] for row in rows]
        if isinstance(field.type, pa.FixedShapeTensorType):
            flat = [None if value is None else value.reshape(-1) for value in values]
            storage = pa.array(flat, field.type.storage_type)
            columns.append(pa.ExtensionArray.from_storage(field.type, storage))
        elif field.name == "video":
            columns.append(blob_array(values))
        else:
            columns.append(pa.array(values, field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def split_of(source_id: str) -> str:
    """Gives the split of everything cut from a source, by a hash of it: 90 % train, 5 % val, 5 % test.

    Sources that share near-duplicates take the split of the smallest id among them.
    """
    bucket = int.from_bytes(blake2b(source_id.encode(), digest_size=8).digest(), "big") % 100
    return "train" if bucket < 90 else "val" if bucket < 95 else "test"
