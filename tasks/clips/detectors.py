"""Finds cuts in a stream of small frames: by PySceneDetect's changes of content, or by TransNetV2 (`transnet.py`)."""

from __future__ import annotations

from collections import deque
from typing import Protocol

import cv2
import numpy as np
from scenedetect import FrameTimecode
from scenedetect.detectors import AdaptiveDetector

from tasks.clips.settings import ClipSettings
from tasks.clips.transition import Transition

NOMINAL_FPS = 25.0  # PySceneDetect wants a rate, but only its frame numbers are used


class CutDetector(Protocol):
    """Takes small RGB frames (h, w, 3) with their ascending numbers, says where shots end, some frames later.

    All transitions that begin before the frame `known_until` have been given.
    """

    known_until: int

    def push(self, index: int, small_hwc: np.ndarray) -> list[Transition]: ...

    def finish(self) -> list[Transition]: ...


def cut_detector(settings: ClipSettings) -> CutDetector:
    """Gives the detector of the settings; RequestError when its library is not installed."""
    if settings.shot_detector == "transnetv2":
        from tasks.clips.transnet import TransnetCuts  # it imports torch, which the other does without

        return TransnetCuts()
    return AdaptiveCuts(settings)


class AdaptiveCuts:
    """Cuts where the content changes much more than around it; blind within two frames of the stream's ends."""

    WINDOW_FRAMES = 2  # a frame is compared with this many on either side, so cuts come that much later

    def __init__(self, settings: ClipSettings) -> None:
        # No minimum length here: the detector would hide a cut instead of dropping a short shot.
        self._detector = AdaptiveDetector(
            adaptive_threshold=settings.shot_threshold,
            min_content_val=settings.shot_min_content,
            min_scene_len=0,
            window_width=self.WINDOW_FRAMES,
        )
        self._recent: deque[int] = deque(maxlen=self.WINDOW_FRAMES + 1)
        self._count = 0
        self._size: tuple[int, int] | None = None
        self.known_until = 0

    def push(self, index: int, small_hwc: np.ndarray) -> list[Transition]:
        """Cuts that are known with this frame; one of another size than the first is compared at the first's."""
        self._recent.append(index)
        self._size = self._size or (small_hwc.shape[1], small_hwc.shape[0])
        if small_hwc.shape[1::-1] != self._size:
            small_hwc = cv2.resize(small_hwc, self._size, interpolation=cv2.INTER_AREA)
        bgr = cv2.cvtColor(small_hwc, cv2.COLOR_RGB2BGR)
        cuts = self._detector.process_frame(FrameTimecode(self._count, NOMINAL_FPS), bgr)
        ordinals = {self._count - age: number for age, number in enumerate(reversed(self._recent))}
        self._count += 1
        if len(self._recent) > self.WINDOW_FRAMES:
            self.known_until = self._recent[1]
        return [Transition(ordinals[cut.frame_num], ordinals[cut.frame_num]) for cut in cuts]

    def finish(self) -> list[Transition]:
        """None: the last two frames have no frames to be compared with."""
        if self._recent:
            self.known_until = self._recent[-1] + 1
        return []
