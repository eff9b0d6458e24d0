"""How well the frames of a video agree with a text, and with each other, as CLIP sees them."""

from __future__ import annotations

import numpy as np

from vidrd_model.clip import ClipModel

_FRAMES_PER_CALL = 64  # as floats of CLIP's size the frames of a long video would fill the memory


def frame_features(clip_model: ClipModel, frames_bthwc: np.ndarray) -> np.ndarray:
    """Returns unit vectors, float64 (b, t, d), of the frames of uint8 videos.

    Their cosines with the unit vector of a text, averaged over the frames, are the text score (CLIPSIM, arXiv
    2104.14806); those of neighbours are the frame consistency. All lie in [-1, 1].
    """
    videos, frames = frames_bthwc.shape[:2]
    frames_nhwc = frames_bthwc.reshape(-1, *frames_bthwc.shape[2:])
    starts = range(0, len(frames_nhwc), _FRAMES_PER_CALL)
    image_nd = np.concatenate(
        [clip_model.image_features(frames_nhwc[i : i + _FRAMES_PER_CALL]) for i in starts]
    )
    return image_nd.reshape(videos, frames, -1).astype(np.float64)


def text_contrast(video_nd: np.ndarray, text_nd: np.ndarray, caption_n: np.ndarray) -> float:
    """Returns the mean text score of videos with their own captions, minus that with the captions of all others.

    Rows are videos: the mean of their frames' unit vectors, the unit vector of their caption, and a number that is the
    same for equal captions; nan where all captions are equal. A constant that a CLIP adds to every cosine cancels, so
    that 0 is what chance gives: to whoever does not know what the videos show, all captions fit alike.
    """
    own = np.einsum("nd,nd->n", video_nd, text_nd).mean()
    # Over all pairs of rows the sum is one product of sums; pairs of one caption are taken off caption by caption.
    captions, place_n, counts = np.unique(caption_n, return_inverse=True, return_counts=True)
    video_cd = np.zeros((len(captions), video_nd.shape[1]))
    text_cd = np.zeros_like(video_cd)
    np.add.at(video_cd, place_n, video_nd)
    np.add.at(text_cd, place_n, text_nd)
    pairs = len(video_nd) ** 2 - int(np.square(counts).sum())
    if pairs == 0:
        return float("nan")
    others = video_cd.sum(axis=0) @ text_cd.sum(axis=0) - np.einsum("cd,cd->", video_cd, text_cd)
    return float(own - others / pairs)
