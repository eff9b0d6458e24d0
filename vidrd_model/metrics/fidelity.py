"""How true a decoded video is to the one it should show: flicker, PSNR, and sharpness where things move.

No one of the three is enough. Averaging neighbouring frames takes away noise that flickers and may even raise PSNR;
it smears what moves, which the sharpness tells. Frames are grey levels from 0 to 255, uint8 or float, the decoded
ones best unrounded; c is any number of channels.
"""

import numpy as np

PSNR_CAP_DB = 100.0

MIN_GRADIENT = 8.0
"""Grey levels per pixel from which on the true picture has an edge."""

MIN_CHANGE = 8.0
"""Grey levels from frame to frame from which on the true picture moves."""


def flicker(decoded_thwc: np.ndarray, true_thwc: np.ndarray) -> float:
    """mean |(d[t+1] - d[t]) - (x[t+1] - x[t])| in grey levels: what changes in the decoded video and should not.

    Frames (t, h, w, c), t at least 2, both of one shape; ValueError otherwise. Equal videos have 0, and so has a
    video that differs from the true one by a still picture.
    """
    decoded, true = _pair(decoded_thwc, true_thwc)
    if len(true) < 2:
        raise ValueError("flicker needs two frames")
    return float(np.abs(np.diff(decoded, axis=0) - np.diff(true, axis=0)).mean())


def psnr_db(decoded_thwc: np.ndarray, true_thwc: np.ndarray) -> float:
    """10 log10(255^2 / mean (d - x)^2) in dB over all frames (t, h, w, c), at most `PSNR_CAP_DB`."""
    decoded, true = _pair(decoded_thwc, true_thwc)
    error = float(np.square(decoded - true).mean())
    smallest = 255.0**2 / 10 ** (PSNR_CAP_DB / 10)
    return float(10 * np.log10(255.0**2 / max(error, smallest)))


def moving_edges(true_thwc: np.ndarray) -> np.ndarray:
    """Where an edge moves, bool (t, h, w): a gradient of `MIN_GRADIENT` and a change of `MIN_CHANGE` at once.

    The change of a frame is the larger of those from the frame before and to the frame after. Frames (t, h, w, c),
    t, h and w at least 2; ValueError otherwise.
    """
    true = np.asarray(true_thwc, dtype=np.float32)
    if true.ndim != 4 or min(true.shape[:3]) < 2:
        raise ValueError(f"moving edges need frames (t, h, w, c) of 2 and more each, not {true.shape}")
    steps_thw = np.abs(np.diff(true, axis=0)).max(axis=-1)
    change_thw = np.maximum(
        np.pad(steps_thw, ((1, 0), (0, 0), (0, 0))), np.pad(steps_thw, ((0, 1), (0, 0), (0, 0)))
    )
    gradient_thw = np.sqrt(_gradient_energy(true).max(axis=-1))
    return (gradient_thw >= MIN_GRADIENT) & (change_thw >= MIN_CHANGE)


def edge_sharpness(decoded_thwc: np.ndarray, true_thwc: np.ndarray) -> float | None:
    """sum |grad d|^2 / sum |grad x|^2 over the moving edges of the true video: 1 as sharp, blur less, noise more.

    Central differences of frames (t, h, w, c); None when nothing with an edge moves. Raises ValueError for frames of
    two shapes or fewer than two.
    """
    decoded, true = _pair(decoded_thwc, true_thwc)
    where_thw = moving_edges(true)
    if not where_thw.any():
        return None
    return float(_gradient_energy(decoded)[where_thw].sum() / _gradient_energy(true)[where_thw].sum())


def _gradient_energy(frames_thwc: np.ndarray) -> np.ndarray:
    """Squared length of the spatial gradient, (t, h, w, c), in squared grey levels per pixel."""
    down, right = np.gradient(frames_thwc, axis=(1, 2))
    return down**2 + right**2


def _pair(decoded_thwc: np.ndarray, true_thwc: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    decoded, true = (np.asarray(frames, dtype=np.float32) for frames in (decoded_thwc, true_thwc))
    if decoded.ndim != 4 or decoded.shape != true.shape:
        raise ValueError(
            f"two videos (t, h, w, c) of one shape are compared, not {decoded.shape} and {true.shape}"
        )
    return decoded, true
