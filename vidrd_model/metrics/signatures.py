"""How VidRD's videos fail, as numbers of one video's pixels: clips that repeat earlier ones, and frozen frames.

Jumps where clips meet are in `seams`. The paper (arXiv 2309.03549) names content cycling: later clips show the frames
of earlier ones again, as happens when too much of their noise is reused.
"""

import cv2
import numpy as np

from vidrd_model.metrics.seams import clip_starts, frame_steps, usual_step

# As the dataset's filter defines frozen frames in tasks/filters/signals.py, which may not load torch with this package;
# a test holds the two together.
SIDE_CELLS = 32  # of the reduced luma: grain and the codec's noise average out, an object of 1/32 does not
STILL_LEVELS = 2  # a cell that changes by no more has only been coded anew

NEAR_FRAMES = 2  # within so many frames motion has not yet gone far enough to tell a repeat from a neighbour


def cycling(frames_thwc: np.ndarray, frames_per_clip: int, prompt_frames: int) -> float | None:
    """The share, 0 to 1, of later clips' free frames that repeat a frame of an earlier clip; None without such frames.

    Free are the frames after the first `prompt_frames` of a clip. One repeats when its mean absolute difference from
    some frame of the clips before is below the usual step of the video, the median over the steps that are no seam.
    To the first two free frames the last `prompt_frames` frames of the clip just before do not count: prompt frames
    repeat them by construction, and whichever way motion goes on it starts among them. Of a video most of whose steps
    are still every frame repeats: 1. So does each of a motion that is itself periodic, such as a swing, and of a
    picture that changes by its noise alone.

    Uint8 RGB frames (t, h, w, 3), t a multiple of `frames_per_clip`; ValueError otherwise.
    """
    starts = clip_starts(len(frames_thwc), frames_per_clip)
    if not starts or prompt_frames >= frames_per_clip:
        return None
    if frozen_share(frames_thwc) > 0.5:
        return 1.0
    usual = usual_step(frames_thwc, frames_per_clip, prompt_frames)
    flat = np.asarray(frames_thwc, dtype=np.float32).reshape(len(frames_thwc), -1)
    repeats = []
    for start in starts:
        first_free = start + prompt_frames
        for free in range(first_free, start + frames_per_clip):
            near = max(prompt_frames, NEAR_FRAMES) if free < first_free + NEAR_FRAMES else 0
            apart = np.abs(flat[: start - near] - flat[free]).mean(axis=1)
            repeats.append(apart.min(initial=np.inf) < usual)
    return float(np.mean(repeats))


def frozen_share(frames_thwc: np.ndarray) -> float:
    """The share of steps, 0 to 1, in which no cell of the luma, reduced to 32x32, changes by more than two levels.

    Uint8 RGB frames (t, h, w, 3); ValueError for fewer than two. It is what the dataset's filter calls frozen: a mean
    would call a locked camera so; sensors' grain and a bird far away move some cell, repeated frames none.
    """
    if len(frames_thwc) < 2:
        raise ValueError("a step needs two frames")
    size = (SIDE_CELLS, SIDE_CELLS)
    cells_thw = np.stack(
        [
            cv2.cvtColor(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
            for frame in frames_thwc
        ]
    ).astype(np.int16)
    return float((np.abs(np.diff(cells_thw, axis=0)).max(axis=(1, 2)) <= STILL_LEVELS).mean())


def pixel_consistency(frames_thwc: np.ndarray) -> float:
    """1 - (mean absolute difference of neighbouring frames) / 255: 1 for a still picture, less for motion and flicker.

    The temporal-flickering score of VBench, arXiv 2311.17982. Frames (t, h, w, 3); ValueError for fewer than two. The
    best score is a frozen video's: it says something beside `frozen_share` and the motion only.
    """
    return float(1.0 - frame_steps(frames_thwc).mean() / 255.0)
