"""CLIP agreement of a clip with its caption: the mean cosine over its frames."""

import math
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

import numpy as np

from tasks.errors import ItemError, RequestError

_CONFIG, _WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
_DISTINCT_CAPTIONS = 4096  # text features kept, 4 MB at most for the largest models


class CaptionScorer:
    """An open_clip model, loaded once, that scores clips one at a time.

    One clip is one batch of N frames whatever else is in flight, so a score does not depend on
    the order of the work.
    """

    def __init__(self, clip: str | Path) -> None:
        import torch

        from vidrd_model.clip import ClipModel

        device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model = ClipModel.from_folder(clip, device=device)
        self._text_features = lru_cache(maxsize=_DISTINCT_CAPTIONS)(self._one_text)

    def score(self, frames_nhwc: np.ndarray, caption: str) -> float:
        """Mean cosine of the caption and the uint8 frames, -1..1; ItemError when it is not a number."""
        cosines_n = self._model.image_features(frames_nhwc) @ self._text_features(caption)
        score = float(cosines_n.mean())
        if not math.isfinite(score):
            raise ItemError(f"the CLIP score of {caption!r} is not finite", stage="score")
        return score

    def _one_text(self, caption: str) -> np.ndarray:
        return self._model.text_features([caption])[0]


def scorer_files(clip: str | Path) -> list[Path]:
    """The files of a local open_clip folder, none for a model by name; RequestError for any other folder."""
    folder = Path(clip)
    if not folder.is_dir():
        if folder.is_absolute():
            raise RequestError(f"clip: {folder} is not a folder with an open_clip model")
        return []
    files = [folder / _CONFIG, folder / _WEIGHTS]
    for path in files:
        if not path.is_file():
            raise RequestError(f"clip: {folder} is not an open_clip model (no {path.name} in it)")
    return files


def scorer_digest(clip: str | Path) -> str:
    """What identifies the CLIP model of a score: a digest of a folder's files, or the model's name.

    Reads files only, so that a run with nothing to do loads no model.
    """
    files = scorer_files(clip)
    if not files:
        return str(clip)
    digest = blake2b(digest_size=16)
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
