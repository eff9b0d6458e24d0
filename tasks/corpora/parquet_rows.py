"""Rows of parquet tables, as far as they are light: words, numbers and lists of them, a batch of rows at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.corpora.encodings import decoded_utf8
from tasks.corpora.tables import Row
from tasks.corpora.tree import Tree, reason_of
from tasks.errors import RequestError

ROWS_PER_BATCH = 1024


def parquet_rows(tree: Tree, name: str, stated_encoding: str | None) -> Iterator[Row]:
    """Yields the light columns of a table; RequestError when it cannot be read."""
    try:
        with tree.open(name) as file:
            schema = pq.ParquetFile(file).schema_arrow
            names = [field.name for field in schema if is_light(field.type)]
            for number, values in enumerate(light_values(file, schema, names), start=1):
                yield Row(number, names, decoded_values(values, stated_encoding))
    except Exception as error:  # damaged files make Arrow raise nearly anything
        raise RequestError(f"{tree.root}/{name}: cannot be read as parquet: {reason_of(error)}") from None


def light_values(file: Any, schema: Any, names: list[str]) -> Iterator[dict[str, Any]]:
    """Gives the rows of some columns; texts as bytes, for files in the wild hold texts that are no UTF-8."""
    # As a dictionary a text is in memory once, whatever number of rows a small file gives it. Of texts in lists
    # Arrow makes none.
    texts = [name for name in names if not pa.types.is_nested(schema.field(name).type)]
    table = pq.ParquetFile(file, read_dictionary=texts)
    return batch_values(table.iter_batches(ROWS_PER_BATCH, columns=names), names)


def batch_values(batches: Iterable[Any], names: list[str]) -> Iterator[dict[str, Any]]:
    """Gives the rows of some columns of record batches, texts as bytes."""
    for batch in batches:
        columns = [_texts_as_bytes(batch.column(name)) for name in names]
        for index in range(batch.num_rows):
            yield {name: column[index].as_py() for name, column in zip(names, columns, strict=True)}


def decoded_values(values: dict[str, Any], stated_encoding: str | None) -> dict[str, Any]:
    """Gives the words of a row, which are UTF-8 where a table was written as it should be; else ValueError."""
    return {name: _decoded(value, stated_encoding) for name, value in values.items()}


def is_text(kind: Any) -> bool:
    """Tells whether a column holds texts or lists of them."""
    if pa.types.is_dictionary(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def is_light(kind: Any) -> bool:
    """Tells whether a column holds words or numbers, or lists of them, and no bytes."""
    while pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
    return is_text(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)


def _decoded(value: Any, stated_encoding: str | None) -> Any:
    if isinstance(value, list):
        return [_decoded(item, stated_encoding) for item in value]
    return decoded_utf8(value, stated_encoding) if isinstance(value, bytes) else value


def _texts_as_bytes(column: Any) -> Any:
    if pa.types.is_dictionary(column.type):
        return pa.DictionaryArray.from_arrays(column.indices, _texts_as_bytes(column.dictionary))
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return column.cast(pa.large_binary())
    return column.cast(pa.large_list(pa.large_binary())) if is_text(column.type) else column
