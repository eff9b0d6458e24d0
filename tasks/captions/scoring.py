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
from vidrd_model.clip import ClipModel

_DISTINCT_CAPTIONS = 4096  # text features kept, 4 MB at most for the largest models
_BATCH_CLIPS_ON_A_GPU = 16


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

    It always sees `batch_clips` clips (1 on a CPU), padded with copies when there are fewer, so a score depends
    neither on the order of the work nor on what else is in flight.
    """

    def __init__(self, clip_model: str | Path, batch_clips: int | None = None) -> None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model = ClipModel.from_folder(clip_model, device=device)
        self._text_features = lru_cache(maxsize=_DISTINCT_CAPTIONS)(self._one_text)
        self.batch_clips = batch_clips or (_BATCH_CLIPS_ON_A_GPU if device == "cuda" else 1)

    @property
    def feature_width(self) -> int:
        """The length d of the model's features."""
        return len(self._text_features(""))

    def score(self, frames_nhwc: np.ndarray, captions: Sequence[str]) -> ClipScore:
        """Scores uint8 frames against the captions, at least one; ItemError when a cosine is not a number."""
        (score,) = self.score_batch([(frames_nhwc, captions)])
        if isinstance(score, ItemError):
            raise score
        return score

    def score_batch(self, clips: Sequence[tuple[np.ndarray, Sequence[str]]]) -> list[ClipScore | ItemError]:
        """Scores clips of one shape; for a clip whose cosines are no numbers, its error stands in its place."""
        scores: list[ClipScore | ItemError] = []
        for start in range(0, len(clips), self.batch_clips):
            batch = clips[start : start + self.batch_clips]
            features_bnd = self._frame_features([frames_nhwc for frames_nhwc, _ in batch])
            for features_nd, (_, captions) in zip(features_bnd, batch, strict=True):
                try:
                    scores.append(self.score_features(features_nd, captions))
                except ItemError as error:
                    scores.append(error)
        return scores

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

    def _frame_features(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        """float16 features (n, d) of up to `batch_clips` clips, from one pass over exactly so many."""
        padded = [*clips, *[clips[-1]] * (self.batch_clips - len(clips))]
        features_md = self._model.image_features(np.concatenate(padded)).astype(np.float16)
        return np.split(features_md, self.batch_clips)[: len(clips)]

    def _one_text(self, caption: str) -> np.ndarray:
        return self._model.text_features([caption])[0]
