"""Texts that change at a frame of the video: `{0: "a red circle", 12: "a blue circle"}`, as FreeNoise's are.

Within a clip each frame then attends to the text of its own; what the frames share makes one scene of them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any

from vidrd_model.errors import ModelError
from vidrd_model.frame_times import FrameTimes


@dataclass(frozen=True)
class Story:
    """The texts of one video: one for each clip, of which the last one stays, or each with the frame it begins at."""

    texts: tuple[str, ...]
    begins: tuple[int, ...] | None = None

    def of_clip(self, clip: int, times: FrameTimes | None) -> list[str]:
        """The text of each frame of a clip, or one for all of them."""
        if self.begins is None or times is None:
            return [self.texts[min(clip, len(self.texts) - 1)]]
        frames = [self.texts[max(bisect_right(self.begins, at) - 1, 0)] for at in times.of_clip(clip)]
        return frames if len(set(frames)) > 1 else frames[:1]


def timed_story(changes: Mapping[Any, Any]) -> Story:
    """The story of texts by the frames that they begin at. ModelError unless these are whole and the first one is 0."""
    try:
        texts = {index(frame): text for frame, text in changes.items()}
    except TypeError as error:
        raise ModelError(f"prompt: texts begin at whole frames, not at {list(changes)}") from error
    if min(texts, default=-1) != 0:
        raise ModelError(f"prompt: the first text begins at frame 0; here they begin at {list(changes)}")
    if not all(isinstance(text, str) for text in texts.values()):
        raise ModelError(f"prompt must be made of texts, not {list(texts.values())}")
    begins = tuple(sorted(texts))
    return Story(tuple(texts[frame] for frame in begins), begins)


def same_length(texts: Sequence[list[str]]) -> list[list[str]]:
    """The texts of each video's frames: one for each frame in all videos, where one of them changes its own."""
    longest = max(map(len, texts))
    return [frames if len(frames) == longest else frames * longest for frames in texts]
