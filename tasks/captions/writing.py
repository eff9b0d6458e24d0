"""Which captioner writes: BLIP, which sees one frame, or a vision-language model, which sees several; by its files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

import numpy as np

from tasks.captions.settings import CaptionerSettings
from tasks.errors import ItemError

_BLIP = "blip"
_SMALL_BYTES = 1 << 20


class CaptionWriter(Protocol):
    """Writes captions of clips, given as uint8 frames (n, h, w, 3) and their clip_ids; an error in place of none."""

    def write(self, clips: Sequence[tuple[np.ndarray, str]]) -> list[list[str] | ItemError]:
        """Gives distinct captions for each clip, the surest first."""


def caption_writer(settings: CaptionerSettings) -> CaptionWriter:
    """Loads the model of the settings; RequestError, naming it, when that cannot be done."""
    from transformers import AutoConfig  # it takes seconds, and most builds write no captions

    from vidrd_model.image_models import split_revision

    name, revision = split_revision(str(settings.model))
    try:
        kind = AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=False).model_type
    except (OSError, ValueError):
        kind = _BLIP  # whose captioner says what is wrong with it
    if kind == _BLIP:
        from tasks.captions.captioner import Captioner

        return Captioner(str(settings.model), settings.candidates, settings.max_tokens)
    from tasks.captions.video_captioner import VideoCaptioner

    return VideoCaptioner(settings)


def captioner_digest(settings: CaptionerSettings) -> str:
    """Identifies what writes: the model and the settings that decide its words.

    Of a large file its size and its first megabyte are read: weights may be tens of gigabytes.
    """
    folder = Path(str(settings.model))
    told = settings.model_dump(exclude={"model", "when", "batch_clips"})
    digest = blake2b(json.dumps(told, sort_keys=True).encode(), digest_size=16)
    if not folder.is_dir():
        digest.update(str(settings.model).encode())
        return digest.hexdigest()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder)} {size}".encode())
        if size <= _SMALL_BYTES:
            digest.update(path.read_bytes())
        else:
            with path.open("rb") as file:
                digest.update(file.read(_SMALL_BYTES))
    return digest.hexdigest()
