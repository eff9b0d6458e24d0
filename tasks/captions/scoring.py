"""CLIP agreement of a clip with its captions: cosines of the frames, from features kept as float16."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from tasks.errors import ItemError
from tasks.passes import FrameCount, Passes, one_thread
from vidrd_model.clip import ClipModel

_DISTINCT_CAPTIONS = 4096  # text features kept, 4 MB at most for the largest models
PASS_FRAMES_ON_A_GPU = 64
"""Frames of one pass on a GPU: fewer leave it waiting for its orders."""


@dataclass(frozen=True)
class ClipScore:
    """How well a clip fits the best of its captions.

    `frame_features` are float16 (n, d) of unit norm; `mean` and `minimum` are over the frames' cosines with
    caption number `caption`, -1..1, and have the precision of float32, as a table keeps them.
    """

    frame_features: np.ndarray
    caption: int
    mean: float
    minimum: float


class CaptionScorer:
    """An open_clip model, loaded once, that scores clips against the candidates for their captions.

    Frames go through it in passes of one shape (`tasks.passes`), so a score depends neither on the order of the work
    nor on what else is in flight. `pass_frames` is that shape, by default `PASS_FRAMES_ON_A_GPU` or a clip; `threads`
    clips go at once on a CPU.
    """

    def __init__(self, clip_model: str | Path, threads: int = 1, pass_frames: int | None = None) -> None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model = ClipModel.from_folder(clip_model, device=device)
        self._text_features = lru_cache(maxsize=_DISTINCT_CAPTIONS)(self._one_text)
        if pass_frames is None and device == "cuda":
            pass_frames = PASS_FRAMES_ON_A_GPU
        self.frame_count = FrameCount()
        self._passes = Passes(pass_frames, threads, self.frame_count)

    @property
    def feature_width(self) -> int:
        """The length d of the model's features."""
        return len(self._text_features(""))

    def score(self, frames_nhwc: np.ndarray, captions: Sequence[str]) -> ClipScore:
        """Scores uint8 frames against the captions, at least one; ItemError when a cosine is not a number."""
        (features_nd,) = self.frame_features([frames_nhwc])
        return self.score_features(features_nd, captions)

    def frame_features(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Gives the features of the frames of each clip, float16 (n, d) of unit norm."""
        return self._passes.run(clips, self._one_pass)

    def score_features(self, frame_features: np.ndarray, captions: Sequence[str]) -> ClipScore:
        """Scores frames by their kept features, to the last bit as `score` did; ItemError as there.

        Of captions with the same mean the first is chosen.
        """
        # In float64, so that a sum's order is lost in rounding to the float32 that tables keep.
        text_kd = np.stack([self._text_features(caption) for caption in captions]).astype(np.float64)
        cosines_kn = (text_kd[:, None] * frame_features.astype(np.float64)[None]).sum(axis=2)
        means_k = cosines_kn.mean(axis=1).astype(np.float32)
        best = int(means_k.argmax())  # a NaN counts as the largest
        mean, minimum = float(means_k[best]), float(cosines_kn[best].min().astype(np.float32))
        if not math.isfinite(mean) or not math.isfinite(minimum):
            raise ItemError(f"the CLIP score of {captions[best]!r} is not finite", stage="score")
        return ClipScore(frame_features, best, mean, minimum)

    def _one_pass(self, frames_nhwc: torch.Tensor) -> torch.Tensor:
        return self._model.frame_features(frames_nhwc).half()

    def _one_text(self, caption: str) -> np.ndarray:
        with one_thread():
            features_d: np.ndarray = self._model.text_features([caption])[0]
        return features_d
