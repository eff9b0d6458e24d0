"""Edits of a given video, SDEdit (arXiv 2108.01073) clip by clip: its frames, noised, are sampled anew with a text.

The clips of the method turn back for M frames where one meets the next; a given video runs on. So its clips overlap by
M frames, which both of two neighbours sample as the same latents from the same noise: `ClipSampler` keeps them so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from vidrd_model.continuing import encoded
from vidrd_model.frame_times import clips_over
from vidrd_model.given_frames import count_frames, covering, frames_between, read_videos

if TYPE_CHECKING:
    from vidrd_model.call_arguments import CallArguments
    from vidrd_model.call_settings import CallSettings
    from vidrd_model.pipeline import VidRDPipeline


@dataclass(frozen=True)
class EditedVideo:
    """The latents of given videos, clip by clip, of which only the first `num_shown` frames are theirs.

    What is missing to whole clips mirrors the end.
    """

    latents_bcnhw: torch.Tensor
    num_frames: int
    shared_frames: int
    num_shown: int

    @classmethod
    def of(
        cls, pipe: VidRDPipeline, asked: CallArguments, settings: CallSettings, num_videos: int
    ) -> EditedVideo | None:
        """Encodes what a call is given; None where that is nothing. ModelError for frames that do not fit."""
        if asked.video is None:
            return None
        n, shared = settings.num_frames, settings.prompt_frames
        _, _, h, w = pipe.latent_shape(n, settings.height, settings.width)
        num_shown = count_frames(asked.video)
        num_clips = clips_over(num_shown, n, shared)
        size = h * pipe.vae_scale_factor, w * pipe.vae_scale_factor
        parts = []
        # Some frames at a time: a long video does not fit the VAE at once, nor memory as floats in its own size.
        for start in range(0, num_shown, n):
            videos = read_videos(frames_between(asked.video, start, start + n), num_videos)
            frames_bnhwc = torch.stack([covering(frames_nhwc, *size) for frames_nhwc in videos])
            parts.append(encoded(pipe, frames_bnhwc.to(pipe._execution_device)).cpu())
        latents_bcnhw = torch.cat(parts, dim=2)
        missing = num_clips * (n - shared) + shared - num_shown
        mirrored = latents_bcnhw.flip(2)[:, :, 1 : 1 + missing]
        return cls(torch.cat([latents_bcnhw, mirrored], dim=2), n, shared, num_shown)

    @property
    def num_clips(self) -> int:
        """The clips that are sampled."""
        return clips_over(self.num_shown, self.num_frames, self.shared_frames)

    def of_clip(self, clip: int) -> torch.Tensor:
        """A clip's latents b c n h w."""
        start = clip * (self.num_frames - self.shared_frames)
        return self.latents_bcnhw[:, :, start : start + self.num_frames]
