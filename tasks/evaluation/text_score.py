"""CLIP's view of a video: how well its frames agree with the prompt, and with each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from vidrd_model.clip import ClipModel

_FRAMES_PER_CALL = 64  # as floats of CLIP's size the frames of a long video would fill the memory


def clip_cosines(
    clip: ClipModel, frames_bthwc: np.ndarray, prompts: list[str] | None
) -> tuple[np.ndarray | None, np.ndarray]:
    """Cosines of frames and prompt, float64 (b, t), and of neighbouring frames (b, t-1), of uint8 videos.

    Their means are the text score (CLIPSIM, arXiv 2104.14806) and the frame consistency; all lie in [-1, 1]. Without
    prompts there are none of the first kind.
    """
    videos, frames = frames_bthwc.shape[:2]
    frames_nhwc = frames_bthwc.reshape(-1, *frames_bthwc.shape[2:])
    starts = range(0, len(frames_nhwc), _FRAMES_PER_CALL)
    image_nd = np.concatenate([clip.image_features(frames_nhwc[i : i + _FRAMES_PER_CALL]) for i in starts])
    image_btd = image_nd.reshape(videos, frames, -1).astype(np.float64)
    neighbours_bt = np.einsum("btd,btd->bt", image_btd[:, 1:], image_btd[:, :-1])
    if prompts is None:
        return None, neighbours_bt
    text_bd = clip.text_features(prompts).astype(np.float64)
    return np.einsum("btd,bd->bt", image_btd, text_bd), neighbours_bt
