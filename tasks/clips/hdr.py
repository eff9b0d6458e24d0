"""HDR video (PQ and HLG, BT.2020) in the sRGB-like colours that everything here is made for: tone-mapped by numpy.

Light is counted in multiples of diffuse white, which ITU-R BT.2408 puts at 203 nits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, ColorTrc

WHITE_NITS, PEAK_NITS = 203.0, 1000.0
DISPLAY_GAMMA = 2.4  # of the displays that ordinary video is made for, BT.1886
KNEE = 0.5  # multiples of white up to which light stays as it is
_HLG_GAMMA = 1.2  # of a display of 1000 nits, BT.2100
_LEVELS = 4096  # steps of the tables from signal to light

# From Y'CbCr to R'G'B', the part that is blue and red: BT.2020 and BT.709.
_KR_KB_2020 = (0.2627, 0.0593)
_KR_KB: dict[int, tuple[float, float]] = {Colorspace.BT2020: _KR_KB_2020, Colorspace.ITU709: (0.2126, 0.0722)}
_RGB_709_FROM_2020 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)
_LUMA_2020 = np.array([0.2627, 0.6780, 0.0593], np.float32)


def is_hdr(frame: VideoFrame) -> bool:
    """Tells whether the frame says that its signal is PQ or HLG."""
    return frame.color_trc in (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)


def is_dolby_vision_alone(frame: VideoFrame) -> bool:
    """Tells whether a frame has Dolby Vision's notes and no other colours to fall back on (its profile 5).

    Its signal is no kind of Y'CbCr, and shown as if it were it is green and purple; other profiles say PQ, HLG or SDR.
    """
    if frame.color_trc != ColorTrc.UNSPECIFIED:
        return False
    notes: Any = frame.side_data
    return notes.get(Type.DOVI_RPU_BUFFER) is not None or notes.get(Type.DOVI_METADATA) is not None


def hdr_format(frame: VideoFrame) -> str:
    """Gives the format with 16 bits a sample, not subsampled, in which `tone_mapped` takes the frame's planes."""
    return "gbrp16le" if frame.format.is_rgb else "yuv444p16le"


def tone_mapped(planes: list[np.ndarray], frame: VideoFrame) -> np.ndarray:
    """Gives uint8 RGB (h, w, 3) of planes (h, w) in `hdr_format`, of a frame that `is_hdr`."""
    signal_hwc = np.clip(_signal(planes, frame), 0.0, 1.0)
    indices = np.rint(signal_hwc * (_LEVELS - 1)).astype(np.int32)
    if frame.color_trc == ColorTrc.SMPTE2084:
        light_hwc = _PQ_LIGHT[indices]
    else:
        scene_hwc = _HLG_LIGHT[indices]
        luminance_hw1 = (scene_hwc @ _LUMA_2020)[..., None]
        light_hwc = scene_hwc * luminance_hw1 ** (_HLG_GAMMA - 1) * (PEAK_NITS / WHITE_NITS)
    light_hwc = np.maximum(light_hwc @ _RGB_709_FROM_2020.T, 0.0)
    # By the brightest colour, so that hues stay.
    brightest_hw1 = np.maximum(light_hwc.max(axis=-1, keepdims=True), 1e-6)
    shown_hwc = light_hwc * (_compressed(brightest_hw1) / brightest_hw1)
    return np.rint(np.clip(shown_hwc, 0.0, 1.0) ** (1 / DISPLAY_GAMMA) * 255).astype(np.uint8)


def _signal(planes: list[np.ndarray], frame: VideoFrame) -> np.ndarray:
    """Gives R'G'B' (h, w, 3), black at 0 and the peak at 1."""
    first, second, third = (plane.astype(np.float32) for plane in planes)
    if frame.format.is_rgb:
        return np.stack((third, first, second), axis=-1) / 65535  # they come as green, blue, red
    if frame.color_range == ColorRange.JPEG:
        luma, of_blue, of_red = first / 65535, second / 65535 - 0.5, third / 65535 - 0.5
    else:
        luma, of_blue, of_red = (
            (first / 256 - 16) / 219,
            (second / 256 - 128) / 224,
            (third / 256 - 128) / 224,
        )
    kr, kb = _KR_KB.get(frame.colorspace, _KR_KB_2020)
    red, blue = luma + 2 * (1 - kr) * of_red, luma + 2 * (1 - kb) * of_blue
    return np.stack((red, (luma - kr * red - kb * blue) / (1 - kr - kb), blue), axis=-1)


def _compressed(light: np.ndarray) -> np.ndarray:
    """Light up to the knee as it is, above it bent (a Moebius transform, smooth at the knee) so that the peak is 1."""
    peak = PEAK_NITS / WHITE_NITS
    a = -(KNEE**2) * (peak - 1) / (KNEE**2 - 2 * KNEE + peak)
    b = (KNEE**2 - 2 * KNEE * peak + peak) / (peak - 1)
    bent = (b**2 + 2 * b * KNEE + KNEE**2) / (b - a) * (light + a) / (light + b)
    return np.where(light <= KNEE, light, bent)


def _pq_light() -> np.ndarray:
    """SMPTE ST 2084: from the signal, in steps of a table, to multiples of white."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    powers = np.linspace(0.0, 1.0, _LEVELS) ** (1 / m2)
    return (10_000 / WHITE_NITS * (np.maximum(powers - c1, 0) / (c2 - c3 * powers)) ** (1 / m1)).astype(
        np.float32
    )


def _hlg_light() -> np.ndarray:
    """ARIB STD-B67: from the signal, in steps of a table, to the light of the scene, 0..1."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    signal = np.linspace(0.0, 1.0, _LEVELS)
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12).astype(np.float32)


_PQ_LIGHT, _HLG_LIGHT = _pq_light(), _hlg_light()
