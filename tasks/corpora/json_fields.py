"""What a JSON object says of one source: the `.json` beside it or of its key in a tar."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tasks.corpora.column_names import CAPTION_COLUMNS
from tasks.corpora.corpus import Corpus
from tasks.corpora.entry import Entry
from tasks.corpora.list_cells import captions_in

MAX_JSON_BYTES = 16 * 2**20


def read_fields(text: str) -> dict[str, object]:
    """Gives the fields of an object; ValueError for any other text."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise ValueError("not the fields of a sample as JSON")
    return fields


def add_fields(entry: Entry, corpus: Corpus, fields: Mapping[str, object], where: str) -> None:
    """Adds the captions of the corpus's field, else of the first of the usual ones that has any."""
    for name in (corpus.caption_column,) if corpus.caption_column else CAPTION_COLUMNS:
        for caption in captions_in(fields.get(name)):
            if isinstance(caption, str):
                entry.add(caption, where=where, origin=f"field {name} of its .json")
        if entry.captions:
            return


def is_failed_download(fields: Mapping[str, object]) -> bool:
    """Tells whether img2dataset or video2dataset notes that it could not download what the fields speak of."""
    return fields.get("status") not in (None, "success")
