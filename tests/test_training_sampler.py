"""Attacks what must not depend on workers or restarts: order, mix, noise, the held-out set, averages."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from storage.dataset.clip_dataset import ClipDataset
from tasks.errors import RequestError
from tasks.training.optimizers import Ema
from tasks.training.sampler import MIX_BLOCK, ClipOrder, seeded_generator
from tasks.training.settings import DecoderSettings, TemporalSettings
from tasks.training.splits import ClipRow, ClipRows, pick_heldout, split_clips
from tests.dataset_rows import clip_row, commit

CLIPS = [ClipRow(row, f"clip-{row}", "") for row in range(10)]


def batches(seed: int, batch_size: int, steps: int) -> list:
    order = ClipOrder(CLIPS, seed)
    return [item for step in range(steps) for item in order.batch(step, batch_size)]


def test_every_epoch_shows_every_clip_once_in_another_order():
    stream = batches(seed=3, batch_size=4, steps=10)
    epochs = [[item.clip.row for item in stream if item.epoch == epoch] for epoch in range(4)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert stream != batches(4, 4, 10)


@given(st.integers(0, 99), st.integers(1, 7), st.integers(0, 50), st.integers(1, 4))
def test_a_step_is_the_same_wherever_a_training_begins_and_shared_out_whole(seed, batch_size, step, workers):
    stream = batches(seed, batch_size, step + 1)
    batch = ClipOrder(CLIPS, seed).batch(step, batch_size)
    assert batch == stream[-batch_size:]
    shares = [batch[rank::workers] for rank in range(workers)]
    assert sorted(item.clip.row for share in shares for item in share) == sorted(
        item.clip.row for item in batch
    )


def test_a_batch_may_be_larger_than_the_dataset():
    batch = ClipOrder(CLIPS, seed=0).batch(0, 25)
    assert [sum(item.epoch == epoch for item in batch) for epoch in range(3)] == [10, 10, 5]


def rows_of_kinds(**counts: int) -> ClipRows:
    kinds = [kind.replace("_", "-") for kind, count in counts.items() for _ in range(count)]
    numbers = list(range(len(kinds)))
    return ClipRows(
        pa.table({"row": numbers, "clip_id": map(str, numbers), "caption": map(str, numbers), "kind": kinds})
    )


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 99), st.floats(0.05, 1), st.floats(0, 1), st.integers(1, 60), st.integers(1, 60))
def test_a_mix_holds_its_shares_and_every_kind_has_epochs_of_its_own(seed, images, films, few, many):
    rows = rows_of_kinds(images=few, long_videos=many)
    order = ClipOrder(rows, seed, {"images": images, "long-videos": films})
    stream = [item for step in range(2 * MIX_BLOCK // 8) for item in order.batch(step, 8)]
    of_images = [item for item in stream if item.clip.kind == "images"]
    assert len(of_images) == pytest.approx(2 * MIX_BLOCK * images / (images + films), abs=2)
    first_epoch = [item.clip.row for item in of_images if item.epoch == 0]
    assert len(first_epoch) == len(set(first_epoch)) == min(few, len(of_images))
    assert [item.epoch for item in of_images] == sorted(item.epoch for item in of_images)


def test_a_mix_with_a_kind_that_is_not_there_is_refused():
    with pytest.raises(RequestError, match="no clips of long-videos"):
        ClipOrder(rows_of_kinds(images=3), 0, {"images": 1, "long-videos": 1})
    ClipOrder(rows_of_kinds(images=3), 0, {"images": 1, "long-videos": 0})
    with pytest.raises(ValueError, match="mix"):
        TemporalSettings(mix={"images": 0})


def test_a_key_always_draws_the_same_and_another_key_something_else():
    first, again, other = (torch.rand(4, generator=seeded_generator(0, key)) for key in ("a", "a", "b"))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_heldout_samples_use_every_clip_before_any_twice():
    assert {clip.row for clip in pick_heldout(CLIPS, 10)} == set(range(10))
    assert pick_heldout(CLIPS, 25)[:10] == pick_heldout(CLIPS, 10)


def dataset_of(folder: Path, **counts: int) -> ClipDataset:
    """A dataset with so many videos in each split, and three images to train on."""
    rows = [
        clip_row(f"{split}-{number}", split=split, video=b"mp4")
        for split, count in counts.items()
        for number in range(count)
    ]
    commit(folder, clips=[*rows, *(clip_row(f"image-{number}", split="train") for number in range(3))])
    return ClipDataset.open(folder)


def test_the_heldout_split_is_val_and_images_have_no_pixels(tmp_path):
    dataset = dataset_of(tmp_path / "d", train=9, val=8, test=9)
    split = split_clips(dataset)
    assert split.heldout_source == "split val"
    assert (len(split.train), len(split.heldout)) == (12, 8)
    assert len(split_clips(dataset, videos_only=True).train) == 9
    assert all(clip.clip_id.startswith("val") for clip in split.heldout)


def test_without_enough_val_clips_test_serves(tmp_path):
    assert split_clips(dataset_of(tmp_path / "d", train=9, val=7, test=8)).heldout_source == "split test"


def test_else_training_clips_are_held_out_and_not_trained_on(tmp_path):
    dataset = dataset_of(tmp_path / "d", train=20, val=1)
    split = split_clips(dataset, videos_only=True)
    assert "hold-out" in split.heldout_source
    rows = {clip.row for clip in split.train}, {clip.row for clip in split.heldout}
    assert not rows[0] & rows[1] and len(rows[0] | rows[1]) == 20 and len(rows[1]) == 8
    assert list(split.train) == list(split_clips(dataset, videos_only=True).train)


def test_a_dataset_with_nothing_to_train_on_is_refused(tmp_path):
    with pytest.raises(RequestError, match="too few clips"):
        split_clips(dataset_of(tmp_path / "d", val=2), videos_only=True)


def test_the_average_follows_the_weights_and_steps_aside():
    weights = {"w": nn.Parameter(torch.zeros(3))}
    ema = Ema(weights, decay=0.9)
    for step in range(200):
        with torch.no_grad():
            weights["w"].fill_(float(step))
        ema.update(step)
    assert 180 < ema.weights["w"][0] < 199  # behind by about 1 / (1 - decay) steps
    with ema.applied():
        assert torch.equal(weights["w"], ema.weights["w"])
    assert weights["w"][0] == 199
    last = Ema(weights, decay=0)
    with torch.no_grad():
        weights["w"].fill_(5.0)
    last.update(0)
    assert last.weights["w"][0] == 5


def test_the_batch_must_divide_among_the_workers():
    for kind in (TemporalSettings, DecoderSettings):
        with pytest.raises(ValueError, match="no multiple of num_workers"):
            kind(batch_size=3, num_workers=2)


@settings(deadline=None, max_examples=50)
@given(st.slices(11), st.lists(st.integers(0, 10), max_size=5), st.sets(st.integers(0, 12)))
def test_rows_in_columns_are_taken_as_those_of_a_list_are(part, numbers, left_out):
    rows = rows_of_kinds(images=5, long_videos=6)
    as_list = list(rows)
    assert [rows[number] for number in range(-11, 11)] == as_list + as_list
    assert list(rows[part]) == as_list[part] and len(rows[part]) == len(as_list[part])
    assert list(rows[np.array(numbers, int)]) == [as_list[number] for number in numbers]
    assert list(rows.without(left_out)) == [clip for clip in as_list if clip.row not in left_out]
    assert [as_list[place] for place in rows.of_kind("images")] == as_list[:5]
