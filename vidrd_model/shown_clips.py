"""What a call gives back: each clip decoded, joined to the one before, in the output type that is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from vidrd_model.call_arguments import CallArguments
from vidrd_model.errors import ModelError
from vidrd_model.outputs import check_output_type, in_depth_of, present
from vidrd_model.seams import SeamJoiner

if TYPE_CHECKING:
    from vidrd_model.pipeline import VidRDPipeline


class ShownClips:
    """Takes the latents of one clip after another and yields what can be shown of them.

    `latent` shows every clip's latents whole, since clips are joined as frames. Raises ModelError for an unknown output
    type or seam, for both when they do not go together, and for frames that are not finite.
    """

    def __init__(self, pipe: VidRDPipeline, asked: CallArguments, prompt_frames: int):
        check_output_type(asked.output_type)
        if asked.output_type == "latent" and asked.seam not in (None, "keep"):
            raise ModelError(f"seam {asked.seam!r} joins frames; output_type latent has none")
        self._pipe, self._output_type = pipe, asked.output_type
        self._joiner = SeamJoiner(asked.shown_seam(pipe.config.seam), prompt_frames, asked.loop)

    def follow(self, frames_bnhwc: torch.Tensor) -> None:
        """Takes frames in 0..1 that are shown already for the clip before the first one."""
        frames_bnhwc = frames_bnhwc.to(self._pipe._execution_device)
        self._joiner.push(in_depth_of(frames_bnhwc, self._output_type))

    def end_after(self, num_frames: int | None) -> None:
        """Show so many frames and no more; None is all."""
        self._joiner.end_after(num_frames)

    def push(self, latents_bcnhw: torch.Tensor) -> Iterator[Any]:
        """What can be shown now that this clip is there: one part of the videos, or none."""
        if self._output_type == "latent":
            yield latents_bcnhw
            return
        frames_bnhwc = self._pipe.decode_latents(latents_bcnhw)
        shown_bnhwc = self._joiner.push(in_depth_of(frames_bnhwc, self._output_type))
        self._pipe._rest_models()
        if shown_bnhwc.shape[1]:
            yield present(shown_bnhwc, self._output_type)

    def finish(self) -> Iterator[Any]:
        """What was held back for a next clip that does not come: one part, or none."""
        held_bnhwc = self._joiner.finish()
        if held_bnhwc is not None:
            yield present(held_bnhwc, self._output_type)
