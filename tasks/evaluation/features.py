"""What the networks make of videos: I3D features, CLIP scores and motion, computed in tasks on Ray.

A task holds a few clips and one thread; its worker keeps the networks for the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from vidrd_model.clip import ClipModel
    from vidrd_model.metrics import I3D

CLIPS_PER_TASK = 4


@dataclass(frozen=True)
class Networks:
    """What a worker loads: a CLIP folder or name and, where they can be had, the I3D weights file."""

    clip: str
    i3d: str | None
    frame_repeats: int


@dataclass(frozen=True)
class Measures:
    """One row per video; `i3d_nd` (n, 400) has no rows where the I3D weights could not be had."""

    i3d_nd: np.ndarray
    text_score_n: np.ndarray
    frame_consistency_n: np.ndarray
    motion_n: np.ndarray

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """The rows of all parts, in their order."""
        return cls(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)})

    @classmethod
    def empty(cls) -> Self:
        """No rows."""
        return cls(np.zeros((0, 400), np.float32), np.zeros(0), np.zeros(0), np.zeros(0))

    def take(self, rows: np.ndarray) -> Self:
        """The rows of these numbers, in this order."""
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        chosen = {name: column[rows] if len(column) else column for name, column in columns.items()}
        return type(self)(**chosen)


def measure(frames_bthwc: np.ndarray, prompts: list[str], networks: Networks) -> Measures:
    """Everything the evaluation reads from uint8 videos (b, t, h, w, 3) of one protocol's length."""
    from tasks.evaluation.text_score import clip_scores
    from vidrd_model.metrics import motion_amount

    text_score_n, consistency_n = clip_scores(_clip(networks.clip), frames_bthwc, prompts)
    i3d_nd = np.zeros((0, 400), np.float32)
    if networks.i3d is not None:
        # Repeats (1, 2, ...) -> (1, 1, 2, 2, ...): I3D needs more frames than a short clip has.
        shown_bthwc = np.repeat(frames_bthwc, networks.frame_repeats, axis=1)
        i3d_nd = _i3d(networks.i3d)(shown_bthwc).numpy()
    motion_n = np.array([motion_amount(frames_thwc) for frames_thwc in frames_bthwc])
    return Measures(i3d_nd, text_score_n, consistency_n, motion_n)


def i3d_check(networks: Networks) -> float:
    """The 151.392 check on the weights as they lie in the cache now; ModelError when it fails."""
    from vidrd_model.metrics import check_reference

    assert networks.i3d is not None
    return check_reference(_i3d(networks.i3d))


def remote(function: Any) -> Any:
    """The function as a Ray task: one CPU, a GPU where there is one, tried again when a worker dies."""
    import ray

    num_gpus = 1 if ray.cluster_resources().get("GPU", 0) >= 1 else 0
    return ray.remote(num_cpus=1, num_gpus=num_gpus, max_retries=2)(function)


@lru_cache(maxsize=1)
def _clip(name: str) -> ClipModel:
    from vidrd_model.clip import ClipModel

    return ClipModel.from_folder(name, device=_device())


@lru_cache(maxsize=1)
def _i3d(path: str) -> I3D:
    from vidrd_model.metrics import I3D

    return I3D.from_weights(path).to(_device())


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
