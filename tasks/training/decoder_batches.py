"""What the decoder is trained on: latents and the pixels that they were made of, read from the dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from tasks.clips.video_io import decode_bytes
from tasks.training.batches import Batch, Reader
from tasks.training.sampler import EpochClip, clip_key


@dataclass(frozen=True)
class DecoderBatch(Batch):
    """Clips with their scaled latents and their pixels (uint8)."""

    latents_bcnhw: torch.Tensor
    pixels_bnhwc: torch.Tensor


class DecoderReader(Reader):
    """Reads batches for the decoder."""

    steps_at_once = 4  # pixels are large

    def __init__(self, dataset_ref: str, seed: int) -> None:
        super().__init__(dataset_ref)
        self._seed = seed

    def read(self, batches: Sequence[Sequence[EpochClip]]) -> list[DecoderBatch]:
        """One batch for each list of clips."""
        return [self._batch(list(clips)) for clips in batches]

    def _batch(self, clips: list[EpochClip]) -> DecoderBatch:
        rows = [item.clip.row for item in clips]
        latents_bcnhw = torch.tensor(self._dataset.latents(rows)).transpose(1, 2).float().contiguous()
        videos = self._dataset.videos(rows)
        frames_bnhwc = np.stack([decode_bytes(video)[0] for video in videos if video is not None])
        keys = [clip_key("layers", self._seed, item.epoch, item.clip.clip_id) for item in clips]
        return DecoderBatch(
            clips=clips,
            keys_b=torch.tensor(keys),
            latents_bcnhw=latents_bcnhw,
            pixels_bnhwc=torch.from_numpy(frames_bnhwc),
        )
