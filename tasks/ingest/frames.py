"""The frames of a stored clip, made again: of its mp4, else of its source."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from storage.dataset.columns import SOURCE_DIGEST, SOURCE_URI
from tasks.clips.from_params import frames_from_params
from tasks.clips.video_io import decode_bytes
from tasks.corpora.media import content_digest, open_media
from tasks.corpora.records import MediaPlace
from tasks.errors import ItemError

COLUMNS = ("video", SOURCE_URI, SOURCE_DIGEST, "params")
"""What is needed of a row."""


def frames_of(row: Mapping[str, Any], place: str | None) -> np.ndarray:
    """Gives the frames of a row, uint8 RGB (n, h, w, 3); ItemError when its source is gone or another by now.

    `place` is where its source was, as the ledger has it: needed where no mp4 is kept.
    """
    if row["video"] is not None:
        return decode_bytes(row["video"])[0]
    if place is None:
        raise ItemError(f"{row[SOURCE_URI]}: the ledger does not know where it lies", stage="read")
    media_place = MediaPlace(**json.loads(place))
    if content_digest(media_place) != row[SOURCE_DIGEST]:
        raise ItemError(f"{row[SOURCE_URI]}: is no longer the file that the clip was made of", stage="read")
    with open_media(media_place) as media:
        return frames_from_params(media, row["params"])


def give_frames(row: Mapping[str, Any], place: str | None) -> Iterator[np.ndarray]:
    """Yields the one array that `frames_of` gives, for a decoder's process."""
    yield frames_of(row, place)
