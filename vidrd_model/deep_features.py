"""Deep features kept from step to step (DeepCache, arXiv 2312.00858): in between the UNet computes its ends alone."""

from __future__ import annotations

import torch

from vidrd_model.attention import TextStates


class DeepFeatures:
    """What reached the UNet's last layer from below in the last whole pass, of one window of clips.

    The videos that share it are the last rows: of a guided pass those with their text stand behind those without, so
    they serve a pass that does not guide, and not the other way about.
    """

    def __init__(self) -> None:
        self._below_bcnhw: torch.Tensor | None = None
        self._text: TextStates | None = None

    def drop(self) -> None:
        """Has the next pass compute everything."""
        self._below_bcnhw = None

    def are_of(self, text: TextStates) -> None:
        """Drops what was computed with other texts, or other layers that project them."""
        if text is not self._text:
            self.drop()
        self._text = text

    def keep(self, below_bcnhw: torch.Tensor) -> None:
        """Takes those of a whole pass."""
        self._below_bcnhw = below_bcnhw

    def of(self, videos: int) -> torch.Tensor | None:
        """Those for a pass of so many videos; None where it has to be a whole one."""
        kept = self._below_bcnhw
        return None if kept is None or len(kept) < videos else kept[len(kept) - videos :]
