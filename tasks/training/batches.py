"""What a training is fed: the batches of both parts, read from the dataset, and ahead of the training where asked for.

A `Reader` makes batches of clips; `BatchLoader` iterates over those of a worker's steps.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from storage.dataset.clip_dataset import ClipDataset
from tasks.clips.video_io import decode_bytes
from tasks.training.caption_mix import draw_caption
from tasks.training.sampler import ClipOrder, EpochClip, clip_key, seeded_generator
from tasks.training.settings import TemporalSettings, TrainingSettings


@dataclass(frozen=True)
class Batch:
    """Holds clips in work at once, with their tensors; `keys_b` seeds what their layers draw."""

    clips: list[EpochClip]
    keys_b: torch.Tensor

    def to(self, device: torch.device) -> Self:
        """Returns the same on a device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Self:
        """Returns the same in memory that a GPU can read by itself."""
        return self._map(torch.Tensor.pin_memory)

    def _map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Self:
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, torch.Tensor)}
        moved: dict[str, Any] = {name: function(tensor) for name, tensor in tensors.items()}
        return replace(self, **moved)


class Reader(ABC):
    """Reads the batches of several steps; it travels to other processes and opens the dataset in the one that reads."""

    steps_at_once: ClassVar[int]
    """Steps whose clips are read in one sorted take: sixteen are six times as fast as one by one."""

    def __init__(self, dataset_ref: str) -> None:
        self._dataset_ref = dataset_ref

    @abstractmethod
    def read(self, batches: Sequence[Sequence[EpochClip]]) -> list[Any]:
        """Returns one `Batch` for each list of clips."""

    @cached_property
    def _dataset(self) -> ClipDataset:
        return ClipDataset.open(self._dataset_ref)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_dataset"}


@dataclass(frozen=True)
class TemporalBatch(Batch):
    """Holds clips with their scaled latents, noise of unit variance, diffusion steps and captions ("" where dropped).

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
        """Returns one batch for each list of clips, all read in one sorted take."""
        rows = [[item.clip.row for item in clips] for clips in batches]
        columns = ["latents", "latents_std"] if self._has_deviation else ["latents"]
        if self._settings.caption_mix is not None:
            columns += ["caption_origin", "model_captions"]
        tables = self._dataset.clips.take_batches(rows, columns, ahead=max(1, len(rows)), fill=True)
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
            "" if one.drops_caption else caption
            for one, caption in zip(drawn, self._captions(clips, table), strict=True)
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

    def _captions(self, clips: list[EpochClip], table: Any) -> list[str]:
        """The caption of each clip in this epoch: its own, or with a mix one that is drawn by where it comes from."""
        mix = self._settings.caption_mix
        if mix is None:
            return [item.clip.caption for item in clips]
        origins, written = table["caption_origin"].to_pylist(), table["model_captions"].to_pylist()
        return [
            draw_caption(
                item.clip.caption,
                origin,
                texts or [],
                mix,
                seeded_generator("caption", self._settings.seed, item.epoch, item.clip.clip_id),
            )
            for item, origin, texts in zip(clips, origins, written, strict=True)
        ]

    def _draw(self, item: EpochClip, shape_nchw: tuple[int, ...]) -> _Drawn:
        """Draws what is random about a clip in an epoch; what later versions added is drawn last."""
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
        assert states is not None  # `TemporalPart` has looked
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


@dataclass(frozen=True)
class DecoderBatch(Batch):
    """Holds clips with their scaled latents and their pixels (uint8)."""

    latents_bcnhw: torch.Tensor
    pixels_bnhwc: torch.Tensor


class DecoderReader(Reader):
    """Reads batches for the decoder."""

    steps_at_once = 4  # pixels are large

    def __init__(self, dataset_ref: str, seed: int) -> None:
        super().__init__(dataset_ref)
        self._seed = seed

    def read(self, batches: Sequence[Sequence[EpochClip]]) -> list[DecoderBatch]:
        """Returns one batch for each list of clips."""
        return [self._batch(list(clips)) for clips in batches]

    def _batch(self, clips: list[EpochClip]) -> DecoderBatch:
        rows = [item.clip.row for item in clips]
        latents_bcnhw = (
            torch.tensor(self._dataset.clips.tensors(rows, "latents")).transpose(1, 2).float().contiguous()
        )
        videos = self._dataset.clips.videos(rows)
        frames_bnhwc = np.stack([decode_bytes(video)[0] for video in videos if video is not None])
        keys = [clip_key("layers", self._seed, item.epoch, item.clip.clip_id) for item in clips]
        return DecoderBatch(
            clips=clips,
            keys_b=torch.tensor(keys),
            latents_bcnhw=latents_bcnhw,
            pixels_bnhwc=torch.from_numpy(frames_bnhwc),
        )


class BatchLoader:
    """Iterates over a worker's batches from a step on, as lists of micro-batches; counts the time spent waiting.

    A rank takes every world-size-th clip of a step's batch, whatever is already read or lost in a restart.
    """

    def __init__(
        self,
        reader: Reader,
        order: ClipOrder,
        settings: TrainingSettings,
        first_step: int,
        rank: int,
        world_size: int,
    ) -> None:
        self._order, self._settings = order, settings
        self._first_step, self._rank, self._world_size = first_step, rank, world_size
        self._steps_at_once = reader.steps_at_once
        share = settings.batch_size // world_size
        self._micro_batch = min(settings.micro_batch or share, share)
        workers = settings.loader_workers
        self._loader = DataLoader(
            _Reading(reader),
            sampler=self._groups(),
            batch_size=None,
            collate_fn=_unchanged,
            num_workers=workers,
            # A fork would copy what Lance, CUDA and gloo hold, and hang.
            multiprocessing_context="spawn" if workers else None,
            prefetch_factor=2 if workers else None,
            pin_memory=settings.use_gpu,
        )
        self.waited_s = 0.0

    def __iter__(self) -> Iterator[list[Any]]:
        groups = iter(self._loader)
        while True:
            started_s = time.perf_counter()
            group = next(groups, None)
            self.waited_s += time.perf_counter() - started_s
            if group is None:
                return
            micro_batches = iter(group)
            count = -(-self._settings.batch_size // self._world_size // self._micro_batch)
            for first in micro_batches:
                yield [first, *(next(micro_batches) for _ in range(count - 1))]

    def _groups(self) -> Iterator[list[list[EpochClip]]]:
        """Gives the clips of every micro-batch of several steps."""
        size = self._settings.batch_size
        for start in range(self._first_step, self._settings.steps, self._steps_at_once):
            group = []
            for step in range(start, min(start + self._steps_at_once, self._settings.steps)):
                share = self._order.batch(step, size)[self._rank :: self._world_size]
                group += [share[i : i + self._micro_batch] for i in range(0, len(share), self._micro_batch)]
            yield group


class _Reading(Dataset[Any]):
    """Puts a reader behind the interface of PyTorch's loader, whose indices are lists of clips."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def __getitem__(self, group: list[list[EpochClip]]) -> list[Any]:
        return self._reader.read(group)


def _unchanged(group: Any) -> Any:
    return group


def _as_array(column: Any) -> np.ndarray:
    array: np.ndarray = column.combine_chunks().to_numpy_ndarray()
    return array


def _channels_first(latents_bnchw: np.ndarray) -> torch.Tensor:
    """Turns float16 (b, n, c, h, w) to float32 (b, c, n, h, w)."""
    return torch.tensor(latents_bnchw).transpose(1, 2).float().contiguous()
