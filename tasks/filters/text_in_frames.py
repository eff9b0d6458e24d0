"""Text in the picture: the share of a clip's frames under text boxes, and under text that stays where it is.

The network that finds text is RapidOCR's (PP-OCRv6, in the wheel of `rapidocr`, Apache-2.0), run by onnxruntime. Its
file is all that is read of that package, which is not imported: text is found here and not read.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tasks.errors import RequestError
from tasks.filters.onnx_network import INSTALL, OnnxNetwork, open_network, require_onnxruntime

_FIELD = "filter: max_text_area"
LOOKED_AT = 3  # frames of a clip: the first, the middle and the last
SIDE_PX = (
    256  # of the frame's shorter side as the network sees it; docs/dataset.md has what others cost and miss
)
_MULTIPLE_PX = 32  # the network halves its input five times
_LIKELY = 0.3  # of a pixel to belong to text
_LIKELY_BOX = 0.5  # mean over the pixels of a box, at least
_GROWTH = 1.6  # the network marks the core of a line: a box grows by its area times this over its outline
_MIN_SIDE_PX = 3
_MAX_SIDE = (
    0.25  # of the frame's shorter side, for a line's core: a striped jumper looks like one huge letter
)


@dataclass(frozen=True)
class TextAreas:
    """Shares of the frame, 0..1, in the precision of float32, as a table keeps them.

    shown: under text boxes, of the frame that has most of them: signs, titles, subtitles, watermarks.
    held: under boxes in every frame that was looked at, which subtitles, watermarks and logos are and a sign that a
    camera passes is not. The picture of a camera that stands still may hold signs too.
    """

    shown: float
    held: float


def text_areas(frames_nhwc: np.ndarray) -> TextAreas:
    """Measures uint8 RGB frames (n, h, w, 3); RequestError where the extra `filters` is not installed."""
    picked = sorted({0, len(frames_nhwc) // 2, len(frames_nhwc) - 1})
    masks_nhw = _masks(frames_nhwc[picked])
    shown, held = masks_nhw.mean(axis=(1, 2)).max(), masks_nhw.all(axis=0).mean()
    return TextAreas(float(np.float32(shown)), float(np.float32(held)))


def text_finder_digest() -> str:
    """Identifies the network and how its answer is read; RequestError where the extra `filters` is not installed."""
    rule = [SIDE_PX, LOOKED_AT, _LIKELY, _LIKELY_BOX, _GROWTH, _MIN_SIDE_PX, _MAX_SIDE]
    return blake2b(network_file().read_bytes() + repr(rule).encode(), digest_size=16).hexdigest()


def load_text_finder() -> OnnxNetwork:
    """Loads the network once in a process; RequestError where that cannot be done."""
    return open_network(network_file(), _FIELD)


def network_file() -> Path:
    """Finds the network; RequestError where the extra `filters` is not installed."""
    require_onnxruntime(_FIELD)
    package = find_spec("rapidocr")
    folders = () if package is None else package.submodule_search_locations or ()
    found = [path for folder in folders for path in Path(folder, "models").glob("PP-OCRv*_det_*.onnx")]
    if not found:
        raise RequestError(f"{_FIELD}: needs the network of rapidocr, which is not installed: {INSTALL}")
    return min(found)


def _masks(frames_nhwc: np.ndarray) -> np.ndarray:
    """Where text boxes lie in the frames as the network sees them, bool (n, h, w)."""
    network = load_text_finder()
    height, width = frames_nhwc.shape[1:3]
    scale = SIDE_PX / min(height, width) / _MULTIPLE_PX
    size = tuple(max(1, round(side * scale)) * _MULTIPLE_PX for side in (width, height))
    # It learnt from pictures in the order blue, green, red, as OpenCV reads them, in -1..1.
    small_nhwc = np.stack([cv2.resize(frame_hwc, size) for frame_hwc in frames_nhwc])[..., ::-1]
    inputs_nchw = np.ascontiguousarray(small_nhwc.transpose(0, 3, 1, 2), dtype=np.float32) / 127.5 - 1
    return np.stack([_boxes(likely_hw) for likely_hw in network(inputs_nchw)[:, 0]])


def _boxes(likely_hw: np.ndarray) -> np.ndarray:
    """Draws the boxes of a map of how likely each pixel belongs to text, bool (h, w).

    Differentiable binarization's rule (arXiv 1911.08947): connected pixels are a box where they are likely enough
    together, and it grows by what the network has learnt to leave out.
    """
    drawn_hw = np.zeros(likely_hw.shape, np.uint8)
    # One pixel wider, as PP-OCR does: strokes that touch are one line.
    core_hw = cv2.dilate((likely_hw > _LIKELY).astype(np.uint8), np.ones((2, 2), np.uint8))
    for outline in cv2.findContours(core_hw, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)[0]:
        middle, (width, height), angle = cv2.minAreaRect(outline)
        if not _MIN_SIDE_PX <= min(width, height) <= _MAX_SIDE * min(likely_hw.shape):
            continue
        core_box_hw = _filled(likely_hw.shape, (middle, (width, height), angle))
        if cv2.mean(likely_hw, core_box_hw)[0] < _LIKELY_BOX:
            continue
        grown_px = 2 * width * height * _GROWTH / (2 * (width + height))
        drawn_hw |= _filled(likely_hw.shape, (middle, (width + grown_px, height + grown_px), angle))
    return drawn_hw.astype(bool)


def _filled(shape: tuple[int, ...], box: Any) -> np.ndarray:
    mask_hw = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask_hw, [np.round(cv2.boxPoints(box)).astype(np.int32)], 1)
    return mask_hw
