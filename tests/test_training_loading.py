"""Attacks what a worker is fed: the same clips, draws and pixels however many processes read and wherever it begins."""

from collections.abc import Iterable
from pathlib import Path

import pytest
import torch

from storage.dataset.clip_dataset import ClipDataset
from tasks.training.batches import BatchLoader, DecoderReader, TemporalBatch, TemporalReader
from tasks.training.sampler import ClipOrder
from tasks.training.settings import DecoderSettings, TemporalSettings
from tasks.training.splits import split_clips
from tests.training_dataset import write_training_dataset

STEPS, BATCH = 37, 4  # more steps than are read at once


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, tiny_profile) -> Path:
    return write_training_dataset(tmp_path_factory.mktemp("clips") / "d", Path(tiny_profile.model), 9, 8, 1)


def loader(dataset: Path, first_step: int = 0, rank: int = 0, size: int = 1, **changes) -> BatchLoader:
    settings = TemporalSettings(steps=STEPS, batch_size=BATCH, num_workers=size, seed=5, **changes)
    order = ClipOrder(split_clips(ClipDataset.open(dataset)).train, settings.seed)
    return BatchLoader(TemporalReader(str(dataset), settings, 1000), order, settings, first_step, rank, size)


def flat(steps: Iterable[list[TemporalBatch]]) -> list[TemporalBatch]:
    return [batch for step in steps for batch in step]


def by_clip(batches: list[TemporalBatch]) -> dict:
    """Everything that a clip's training depends on, by epoch and clip."""
    return {
        (item.epoch, item.clip.clip_id): (
            batch.latents_bcnhw[i],
            batch.noise_bcnhw[i],
            batch.offset_bc[i],
            batch.timesteps_b[i],
            batch.captions[i],
            batch.keys_b[i],
        )
        for batch in batches
        for i, item in enumerate(batch.clips)
    }


def same(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
        for key in first
        for a, b in zip(first[key], second[key], strict=True)
    )


@pytest.fixture(scope="module")
def whole(dataset) -> list[list[TemporalBatch]]:
    return list(loader(dataset))


def test_every_step_is_one_batch_of_scaled_latents(dataset, whole):
    assert len(whole) == STEPS and all(len(step) == 1 for step in whole)
    stored = ClipDataset.open(dataset)
    for batch in (whole[0][0], whole[-1][0]):
        latents_bnchw = torch.tensor(stored.clips.tensors([item.clip.row for item in batch.clips], "latents"))
        assert torch.equal(batch.latents_bcnhw, latents_bnchw.transpose(1, 2).float())
        assert all(item.clip.clip_id.startswith("clip-") for item in batch.clips)
    heldout = {clip.clip_id for clip in split_clips(stored).heldout}
    assert not heldout & {item.clip.clip_id for step in whole for batch in step for item in batch.clips}


def test_it_begins_in_the_middle_as_if_it_had_begun_at_the_start(dataset, whole):
    assert same(by_clip(flat(loader(dataset, 21))), by_clip(flat(whole[21:])))


def test_two_ranks_share_a_step_and_micro_batches_part_it(dataset, whole):
    shares = [list(loader(dataset, 0, rank, 2, micro_batch=1)) for rank in range(2)]
    assert all(len(step) == 2 and len(step[0].clips) == 1 for step in shares[0])
    for step in (0, 20, STEPS - 1):
        assert same(by_clip(shares[0][step] + shares[1][step]), by_clip(whole[step]))
    uneven = list(loader(dataset, STEPS - 2, micro_batch=3))
    assert [[len(batch.clips) for batch in step] for step in uneven] == [[3, 1], [3, 1]]


@pytest.mark.slow
def test_processes_that_read_ahead_read_the_same(dataset, whole):
    read = loader(dataset, 0, loader_workers=1)
    assert same(by_clip(flat(read)), by_clip(flat(whole)))
    assert read.waited_s > 0  # at least for the process to start


def test_captions_are_dropped_at_the_share_that_was_asked_for(dataset):
    read = flat(loader(dataset, caption_dropout=0.25))
    dropped = [not caption for batch in read for caption in batch.captions]
    assert 0.1 < sum(dropped) / len(dropped) < 0.4
    assert not any(not c for batch in flat(loader(dataset, caption_dropout=0.0)) for c in batch.captions)


def test_latents_are_drawn_where_their_deviation_is_stored(tmp_path, tiny_profile):
    dataset = write_training_dataset(tmp_path / "d", Path(tiny_profile.model), 8, 8, 0, deviation=0.5)
    batch = next(iter(loader(dataset)))[0]
    means_bnchw = torch.tensor(
        ClipDataset.open(dataset).clips.tensors([item.clip.row for item in batch.clips], "latents")
    )
    difference = batch.latents_bcnhw - means_bnchw.transpose(1, 2).float()
    assert difference.std().item() == pytest.approx(0.5, rel=0.05)
    assert abs(torch.corrcoef(torch.stack([difference.flatten(), batch.noise_bcnhw.flatten()]))[0, 1]) < 0.05


def test_pixels_are_those_of_the_clip(dataset):
    split = split_clips(ClipDataset.open(dataset), videos_only=True)
    settings = DecoderSettings(steps=5, batch_size=2, num_workers=1)
    read = list(BatchLoader(DecoderReader(str(dataset), 0), ClipOrder(split.train, 0), settings, 0, 0, 1))
    assert len(read) == 5
    batch = read[0][0]
    assert batch.pixels_bnhwc.shape == (2, 8, 64, 64, 3) and batch.pixels_bnhwc.dtype == torch.uint8
    assert batch.latents_bcnhw.shape == (2, 4, 8, 8, 8)
