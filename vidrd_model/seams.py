"""How clips become one video: what is shown where one clip meets the next (quirk Q3).

A later clip starts with M frames that are guided to be the last ones of the clip before in reverse: shown whole, a
video goes back for M frames at every seam, and its boundary frame comes twice.
"""

from __future__ import annotations

import torch

from vidrd_model.errors import ModelError
from vidrd_model.frame_times import hidden_frames


class SeamJoiner:
    """Takes the clips of a batch of videos one by one and gives back the frames to show.

    `keep` shows every frame, as the authors do; `drop-duplicate` leaves out each later clip's first frame, the
    repetition of the last one shown; `drop-prompt-frames` its M prompt frames; `crossfade` blends them into the last M
    frames of the clip before. In a `loop` the first clip is a later one as well: the last clip comes before it. Frames
    are uint8, blended ones rounded, or floats. Raises ModelError for another name, and for `crossfade` in a loop, whose
    last clip is not there when the first one is shown.
    """

    def __init__(self, seam: str, prompt_frames: int, loop: bool = False):
        self._hidden = hidden_frames(seam, prompt_frames)
        if loop and seam == "crossfade":
            raise ModelError("seam 'crossfade' cannot close a loop; use drop-duplicate or another one")
        self.seam, self.prompt_frames = seam, prompt_frames
        self._held_bnhwc: torch.Tensor | None = None
        self._first = not loop
        self._left: int | None = None

    def end_after(self, num_frames: int | None) -> None:
        """Show so many frames and no more; None is all. Not for `crossfade`, which holds some back."""
        self._left = num_frames

    def push(self, frames_bnhwc: torch.Tensor) -> torch.Tensor:
        """The frames (b, n, h, w, 3) that can be shown now that this clip is there, perhaps none."""
        if self.seam == "crossfade" and self.prompt_frames:
            return self._crossfade(frames_bnhwc)
        start = 0 if self._first else self._hidden
        self._first = False
        shown_bnhwc = frames_bnhwc[:, start:]
        if self._left is not None:
            shown_bnhwc = shown_bnhwc[:, : self._left]
            self._left -= shown_bnhwc.shape[1]
        return shown_bnhwc

    def finish(self) -> torch.Tensor | None:
        """The frames held back for a next clip that does not come; None when there are none."""
        held, self._held_bnhwc = self._held_bnhwc, None
        return held

    def _crossfade(self, frames_bnhwc: torch.Tensor) -> torch.Tensor:
        m = self.prompt_frames
        if self._held_bnhwc is not None:
            weight = torch.arange(1, m + 1, dtype=torch.float32, device=frames_bnhwc.device) / (m + 1)
            weight = weight[:, None, None, None]
            blended = self._held_bnhwc * (1 - weight) + frames_bnhwc[:, :m] * weight
            if not frames_bnhwc.is_floating_point():
                blended = blended.round().to(frames_bnhwc.dtype)
            frames_bnhwc = torch.cat([blended, frames_bnhwc[:, m:]], dim=1)
        self._held_bnhwc = frames_bnhwc[:, -m:]
        return frames_bnhwc[:, :-m]
