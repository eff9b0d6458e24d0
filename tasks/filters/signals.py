"""What a clip's pixels say without any model: motion, jumps, brightness, frozen frames, and a fingerprint."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from tasks.filters.bars import picture_part

SIDE_CELLS = 32  # of the reduced luma: grain and the codec's noise average out, an object of 1/32 does not
STILL_LEVELS = 2  # a cell that changes by no more has only been coded anew
NOISE_LEVELS = 1.0  # in `jump`, so that a still clip's tiny steps are no multiples of one another
BRIGHTEST_PART = 20  # one in so many cells
FINGERPRINT_FRAMES = 3
FINGERPRINT_CELLS = 8
FINGERPRINT_BYTES = FINGERPRINT_FRAMES * FINGERPRINT_CELLS**2 * 3


@dataclass(frozen=True)
class ClipSignals:
    """Measures of a clip, in the precision of float32, as a table keeps them.

    A step is what lies between two neighbouring frames, and its change the mean absolute difference of their luma
    in grey levels, 0..255, over 32x32 cells whatever the size of the clip.

    motion: the mean change of a step. Zero for slides, 0.2 to 0.4 for a locked camera before a nearly still scene,
    2 to 6 for one small object, 3 to 20 for people and moving cameras, 50 and more for flicker. It is a mean, so
    that a clip whose frames repeat, which has a median of zero, still counts as moving.
    jump: the largest change over the median one, both raised by a grey level: about 1 for even motion and for none
    at all, up to 4 for motion in bursts, 10 and more for a cut or a flash in a clip that otherwise moves little.
    A cut between two busy shots is no larger than their motion: finding it is the shot detector's work.
    brightness: luma of the brightest twentieth of a frame's cells, mean over the frames, 0..255. A black clip has
    16 and less, while a street at night is lit somewhere and one bright face in the dark is enough; a flash in
    one frame, or the start of a fade, is not.
    frozen: the share of steps, 0..1, in which no cell changes by more than two levels. A mean would call the
    locked camera frozen; sensors' grain and a bird far away move some cell, repeated frames none.
    picture: the share of the frame that is no black bar (`tasks.filters.bars`).
    fingerprint: the first, middle and last frame as 8x8 means of RGB, 576 bytes (frame, row, column, channel).
    """

    motion: float
    jump: float
    brightness: float
    frozen: float
    fingerprint: bytes
    picture: float


def clip_signals(frames_nhwc: np.ndarray) -> ClipSignals:
    """Measures uint8 RGB frames (n, h, w, 3); a single frame has no step: no motion, nothing frozen, a jump of 1."""
    cells_nk = _reduced_luma(frames_nhwc)
    changes_mk = np.abs(np.diff(cells_nk, axis=0))
    changes_m = changes_mk.mean(axis=1)
    motion, jump, frozen = 0.0, 1.0, 0.0
    if len(changes_m):
        motion = changes_m.mean()
        jump = (changes_m.max() + NOISE_LEVELS) / (np.median(changes_m) + NOISE_LEVELS)
        frozen = (changes_mk.max(axis=1) <= STILL_LEVELS).mean()
    brightest = cells_nk.shape[1] // BRIGHTEST_PART
    brightness = np.partition(cells_nk, -brightest, axis=1)[:, -brightest:].mean()
    return ClipSignals(
        motion=_as_stored(motion),
        jump=_as_stored(jump),
        brightness=_as_stored(brightness),
        frozen=_as_stored(frozen),
        fingerprint=fingerprint(frames_nhwc),
        picture=_as_stored(picture_part(frames_nhwc)),
    )


def fingerprint(frames_nhwc: np.ndarray) -> bytes:
    """Gives the fingerprint of uint8 RGB frames (n, h, w, 3) alone."""
    picked = (0, len(frames_nhwc) // 2, len(frames_nhwc) - 1)
    size = (FINGERPRINT_CELLS, FINGERPRINT_CELLS)
    means = [cv2.resize(frames_nhwc[index], size, interpolation=cv2.INTER_AREA) for index in picked]
    return np.stack(means).tobytes()


def _reduced_luma(frames_nhwc: np.ndarray) -> np.ndarray:
    """Luma of the frames' cells, int16 (n, k)."""
    size = (SIDE_CELLS, SIDE_CELLS)
    # Reduced first, which is most of the work: luma is linear in RGB.
    reduced = [cv2.resize(frame_hwc, size, interpolation=cv2.INTER_AREA) for frame_hwc in frames_nhwc]
    return (
        np.stack([cv2.cvtColor(cells, cv2.COLOR_RGB2GRAY) for cells in reduced])
        .reshape(len(reduced), -1)
        .astype(np.int16)
    )


def _as_stored(number: float) -> float:
    return float(np.float32(number))
