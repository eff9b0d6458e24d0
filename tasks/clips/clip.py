"""A clip: N frames with a caption, where they came from and how to make them again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tasks.corpora.records import CaptionSpan, SourceRecord


@dataclass
class Clip:
    """One clip of a source; `frames_nhwc` is uint8 RGB (n, h, w, 3), `params_json` reproduces it.

    `captions` are the candidates for its caption, at least one; where one was drawn of several it is the only one, and
    `drawn_from` are all. The size and duration of the source are those of
    its upright frames, the duration None for images, and so are the video streams that could be the film, and the
    share of the source's frames that were two fields each (`tasks.clips.deinterlacing`).
    """

    clip_id: str
    source: SourceRecord
    start_s: float
    fps: float
    frames_nhwc: np.ndarray
    captions: tuple[CaptionSpan, ...]
    caption_origin: str
    params_json: str
    source_width: int
    source_height: int
    source_duration_s: float | None = None
    source_films: int | None = None
    interlaced: float | None = None
    drawn_from: tuple[CaptionSpan, ...] = ()


def parameters_json(parameters: Mapping[str, object]) -> str:
    """Parameters as one line of JSON that is the same for equal parameters."""
    return json.dumps(parameters, sort_keys=True, separators=(",", ":"))


def clip_id(source_id: str, params_json: str) -> str:
    """Gives the clip's name: blake2b-128 over its source and all that was chosen for it, span included."""
    return hashlib.blake2b(f"{source_id}\0{params_json}".encode(), digest_size=16).hexdigest()


def drawn_index(clip_id: str, count: int) -> int:
    """Gives one of so many captions, the same for this clip on any machine and in any order of work."""
    return int(hashlib.blake2b(f"{clip_id}\0caption".encode(), digest_size=16).hexdigest(), 16) % count


def seed_of(source_id: str, params_json: str) -> int:
    """Gives a 128-bit seed from the source and the parameters: the same on any machine and in any order of work."""
    return int(clip_id(source_id, params_json), 16)
