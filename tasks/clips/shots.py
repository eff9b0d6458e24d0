"""Splits a stream of frames at hard cuts with PySceneDetect, in one pass and in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from scenedetect import FrameTimecode
from scenedetect.detectors import AdaptiveDetector

from tasks.clips.settings import ClipSettings

WINDOW_FRAMES = 2  # the detector compares a frame with this many on either side and reports that much later
NOMINAL_FPS = 25.0  # the detector wants a rate, but only its frame numbers are used


@dataclass(frozen=True)
class Shot:
    """Frames between two cuts, or a piece of a long shot; `end_s` is when the next shot begins."""

    start_s: float
    end_s: float
    times_s: list[float]
    frames: list[np.ndarray]


def shots_of(timed_frames: Iterable[tuple[float, np.ndarray]], settings: ClipSettings) -> Iterator[Shot]:
    """Yields the shots of a stream of (time, RGB frame) in order, without those under `min_shot_s`.

    At most `max_shot_s` of frames is held at a time. The detector is blind to a cut within the
    first or last two frames of the stream.
    """
    for shot in _all_shots(timed_frames, settings):
        if shot.end_s - shot.start_s >= settings.min_shot_s:
            yield shot


def _all_shots(timed_frames: Iterable[tuple[float, np.ndarray]], settings: ClipSettings) -> Iterator[Shot]:
    # No minimum length here: the detector would hide a cut instead of dropping a short shot.
    detector = AdaptiveDetector(
        adaptive_threshold=settings.shot_threshold,
        min_content_val=settings.shot_min_content,
        min_scene_len=0,
        window_width=WINDOW_FRAMES,
    )
    held: list[tuple[float, np.ndarray]] = []
    first_index = 0
    for index, (time_s, frame) in enumerate(timed_frames):
        held.append((time_s, frame))
        bgr = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
        for cut in detector.process_frame(FrameTimecode(index, NOMINAL_FPS), bgr):
            length = cut.frame_num - first_index
            if length > 0:
                yield _shot(held[:length], held[length][0])
                held, first_index = held[length:], cut.frame_num
        length = _full_piece(held, settings.max_shot_s)
        if length:
            yield _shot(held[:length], held[length][0])
            held, first_index = held[length:], first_index + length
    if held:
        last_step_s = held[-1][0] - held[-2][0] if len(held) > 1 else 0.0
        yield _shot(held, held[-1][0] + last_step_s)


def _full_piece(held: list[tuple[float, np.ndarray]], max_shot_s: float) -> int:
    """How many frames make a full piece, once no cut can fall among them any more; 0 while there is none."""
    settled = len(held) - WINDOW_FRAMES
    if settled < 1 or held[settled - 1][0] - held[0][0] < max_shot_s:
        return 0
    return settled - 1


def _shot(held: list[tuple[float, np.ndarray]], end_s: float) -> Shot:
    return Shot(held[0][0], end_s, [time_s for time_s, _ in held], [frame for _, frame in held])
