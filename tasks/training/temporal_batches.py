"""What the UNet is trained on: latents, captions and everything that is drawn for a clip, read from the dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from tasks.training.batches import Batch, Reader
from tasks.training.sampler import EpochClip, clip_key, seeded_generator
from tasks.training.settings import TemporalSettings


@dataclass(frozen=True)
class TemporalBatch(Batch):
    """Clips with their scaled latents, noise of unit variance, diffusion steps and captions ("" where dropped).

    `offset_bc` is the draw of a clip's offset noise; `text_btd` is None where captions are encoded in training.
    """

    latents_bcnhw: torch.Tensor
    noise_bcnhw: torch.Tensor
    offset_bc: torch.Tensor
    timesteps_b: torch.Tensor
    captions: list[str]
    text_btd: torch.Tensor | None


class TemporalReader(Reader):
    """Reads batches for the UNet; it opens the dataset in the process that reads."""

    steps_at_once = 16

    def __init__(self, dataset_ref: str, settings: TemporalSettings, num_train_timesteps: int) -> None:
        super().__init__(dataset_ref)
        self._settings = settings
        self._num_train_timesteps = num_train_timesteps

    def read(self, batches: Sequence[Sequence[EpochClip]]) -> list[TemporalBatch]:
        """One batch for each list of clips, all read in one sorted take."""
        rows = [[item.clip.row for item in clips] for clips in batches]
        columns = ["latents", "latents_std"] if self._has_deviation else ["latents"]
        tables = self._dataset.batches(rows, columns, ahead=max(1, len(rows)))
        return [self._batch(list(clips), table) for clips, table in zip(batches, tables, strict=True)]

    def _batch(self, clips: list[EpochClip], table: Any) -> TemporalBatch:
        means_bnchw = _as_array(table["latents"])
        deviations = table["latents_std"] if self._has_deviation else None
        drawn = [self._draw(item, means_bnchw.shape[1:]) for item in clips]
        latents_bcnhw = _channels_first(means_bnchw)
        if deviations is not None and not deviations.null_count:
            spread_bcnhw = _channels_first(_as_array(deviations))
            latents_bcnhw = latents_bcnhw + spread_bcnhw * torch.stack([one.latent_noise for one in drawn])
        captions = [
            "" if one.drops_caption else item.clip.caption for one, item in zip(drawn, clips, strict=True)
        ]
        return TemporalBatch(
            clips=clips,
            keys_b=torch.tensor([one.key for one in drawn]),
            latents_bcnhw=latents_bcnhw,
            noise_bcnhw=torch.stack([one.noise for one in drawn]),
            offset_bc=torch.stack([one.offset for one in drawn]),
            timesteps_b=torch.stack([one.timestep for one in drawn]),
            captions=captions,
            text_btd=self._stored_states(clips) if self._settings.text_states == "stored" else None,
        )

    def _draw(self, item: EpochClip, shape_nchw: tuple[int, ...]) -> _Drawn:
        """What is random about a clip in an epoch; what came later into this list is drawn last."""
        n, c, h, w = shape_nchw
        key = (self._settings.seed, item.epoch, item.clip.clip_id)
        generator = seeded_generator(*key)
        timestep = torch.randint(self._num_train_timesteps, (), generator=generator)
        drops = bool(torch.rand((), generator=generator) < self._settings.caption_dropout)
        noise = torch.randn((c, n, h, w), generator=generator)
        offset = torch.randn(c, generator=generator)
        latent_noise = torch.randn((c, n, h, w), generator=generator) if self._has_deviation else noise
        return _Drawn(timestep, drops, noise, offset, latent_noise, clip_key("layers", *key))

    def _stored_states(self, clips: Sequence[EpochClip]) -> torch.Tensor:
        states = self._dataset.text_states([item.clip.caption for item in clips])
        assert states is not None  # the trainee has looked
        return torch.from_numpy(states)

    @cached_property
    def _has_deviation(self) -> bool:
        return self._dataset.has_latents_std


@dataclass(frozen=True)
class _Drawn:
    timestep: torch.Tensor
    drops_caption: bool
    noise: torch.Tensor
    offset: torch.Tensor
    latent_noise: torch.Tensor
    key: int


def _as_array(column: Any) -> np.ndarray:
    array: np.ndarray = column.combine_chunks().to_numpy_ndarray()
    return array


def _channels_first(latents_bnchw: np.ndarray) -> torch.Tensor:
    """float16 (b, n, c, h, w) to float32 (b, c, n, h, w)."""
    return torch.tensor(latents_bnchw).transpose(1, 2).float().contiguous()
