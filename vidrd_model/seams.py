"""How clips become one video: what is shown where one clip meets the next (quirk Q3).

A later clip starts with M frames that are guided to be the last ones of the clip before in reverse: shown whole, a
video goes back for M frames at every seam, and its boundary frame comes twice.
"""

from __future__ import annotations

import numpy as np

from vidrd_model.errors import ModelError

SEAMS = ("keep", "drop-duplicate", "drop-prompt-frames", "crossfade")


class SeamJoiner:
    """Takes the clips of a batch of videos one by one and gives back the frames to show.

    `keep` shows every frame, as the authors do; `drop-duplicate` leaves out each later clip's first frame, the
    repetition of the last one shown; `drop-prompt-frames` its M prompt frames; `crossfade` blends them into the last M
    frames of the clip before. Raises ModelError for another name.
    """

    def __init__(self, seam: str, prompt_frames: int):
        if seam not in SEAMS:
            raise ModelError(f"seam must be one of {', '.join(SEAMS)}, not {seam!r}")
        self.seam, self.prompt_frames = seam, prompt_frames
        self._held_bnhwc: np.ndarray | None = None
        self._first = True

    def push(self, frames_bnhwc: np.ndarray) -> np.ndarray:
        """The frames (b, n, h, w, 3) that can be shown now that this clip is there, perhaps none."""
        if self.seam == "crossfade" and self.prompt_frames:
            return self._crossfade(frames_bnhwc)
        dropped = {"drop-duplicate": min(1, self.prompt_frames), "drop-prompt-frames": self.prompt_frames}
        start = 0 if self._first else dropped.get(self.seam, 0)
        self._first = False
        return frames_bnhwc[:, start:]

    def finish(self) -> np.ndarray | None:
        """The frames held back for a next clip that does not come; None when there are none."""
        held, self._held_bnhwc = self._held_bnhwc, None
        return held

    def _crossfade(self, frames_bnhwc: np.ndarray) -> np.ndarray:
        m = self.prompt_frames
        if self._held_bnhwc is not None:
            weight = (np.arange(1, m + 1, dtype=np.float32) / (m + 1))[:, None, None, None]
            blended = self._held_bnhwc * (1 - weight) + frames_bnhwc[:, :m] * weight
            frames_bnhwc = np.concatenate([blended.round().astype(np.uint8), frames_bnhwc[:, m:]], axis=1)
        self._held_bnhwc = frames_bnhwc[:, -m:]
        return frames_bnhwc[:, :-m]
