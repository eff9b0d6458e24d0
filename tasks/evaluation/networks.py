"""The networks that features come from: named by their files, loaded once in each worker."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from storage.errors import StorageError
from tasks.evaluation.i3d_weights import i3d_weights
from tasks.model_files import files_digest
from vidrd_model.clip import ClipModel
from vidrd_model.metrics import C3D, I3D


@dataclass(frozen=True)
class Networks:
    """A CLIP folder or open_clip name, and the weights files of I3D and C3D where they can be had."""

    clip_model: str
    i3d: str | None = None
    c3d: str | None = None

    def digest(self) -> str:
        """Returns what tells these networks from others: their files' bytes, wherever they lie."""
        parts = [_digest(name) for name in (self.clip_model, self.i3d, self.c3d)]
        return hashlib.blake2b("/".join(parts).encode(), digest_size=16).hexdigest()


def find_networks(clip_model: str, c3d: Path | None = None) -> tuple[Networks, dict[str, str]]:
    """Returns the networks that can be had here, and why others cannot, by the name of the metric that needs them."""
    missing: dict[str, str] = {}
    try:
        i3d: str | None = str(i3d_weights())
    except StorageError as error:
        i3d, missing["fvd"] = None, str(error)
    if c3d is None:
        missing["is"] = (
            "it needs a C3D checkpoint trained on UCF-101, given by c3d_weights; is_i3d is another number"
        )
    return Networks(str(clip_model), i3d, None if c3d is None else str(c3d)), missing


@lru_cache(maxsize=1)
def load_clip(name: str) -> ClipModel:
    """Loads the CLIP model of this worker."""
    return ClipModel.from_folder(name, device=_device())


@lru_cache(maxsize=1)
def load_i3d(path: str) -> I3D:
    """Loads the I3D of this worker."""
    return I3D.from_weights(path).to(_device())


@lru_cache(maxsize=1)
def load_c3d(path: str) -> C3D:
    """Loads the C3D of this worker."""
    return C3D.from_weights(path).to(_device())


@lru_cache(maxsize=8)
def _digest(name: str | None) -> str:
    if name is None:
        return "none"
    path = Path(name)
    if path.is_dir():
        return files_digest(sorted(file for file in path.iterdir() if file.is_file()))
    return files_digest([path]) if path.is_file() else name  # a hub name stands for itself


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
