"""CLIP's view of a video: how well its frames agree with the prompt, and with each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from vidrd_model.clip import ClipModel


def clip_scores(
    clip: ClipModel, frames_bthwc: np.ndarray, prompts: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Text score and frame consistency, float64 (b,) each, of uint8 videos (b, t, h, w, 3).

    The text score is the mean cosine of frames and prompt (CLIPSIM, arXiv 2104.14806), the consistency the
    mean cosine of neighbouring frames; both lie in [-1, 1].
    """
    videos, frames = frames_bthwc.shape[:2]
    image_nd = clip.image_features(frames_bthwc.reshape(-1, *frames_bthwc.shape[2:]))
    image_btd = image_nd.reshape(videos, frames, -1)
    text_bd = clip.text_features(prompts)
    text_score = np.einsum("btd,bd->bt", image_btd, text_bd).mean(axis=1)
    consistency = np.einsum("btd,btd->bt", image_btd[:, 1:], image_btd[:, :-1]).mean(axis=1)
    return text_score.astype(np.float64), consistency.astype(np.float64)
