"""Attacks checkpoints: cut off between any two writes, damaged, of another training, in a folder and in a bucket."""

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
import torch

from tasks.errors import RequestError
from tasks.training.checkpoints import CheckpointStore


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "folder":
        yield str(tmp_path / "checkpoints")
    else:
        yield f"{request.getfixturevalue('s3')}/runs/a"


def files(place: str) -> set[str]:
    fs, root = fsspec.url_to_fs(place, use_listings_cache=False)
    return {name.rsplit("/", 1)[-1] for name in fs.ls(root, detail=False)}


def saved(place: str, *steps: int, keep: int = 2) -> CheckpointStore:
    store = CheckpointStore(place, "config", keep)
    for step in steps:
        store.save(step, {"step": step, "weights": torch.full((3,), float(step))})
    store.wait()
    return store


def test_the_newest_is_loaded_and_only_so_many_stay(place):
    assert saved(place).load_newest() is None
    store = saved(place, 10, 20, 30)
    assert store.steps() == [20, 30]
    assert files(place) == {f"step-{step:08d}.{suffix}" for step in (20, 30) for suffix in ("pt", "json")}
    state = CheckpointStore(place, "config", 2).load_newest()
    assert state is not None and state["step"] == 30 and torch.equal(state["weights"], torch.full((3,), 30.0))


def test_what_was_cut_off_or_damaged_does_not_count(place):
    store = saved(place, 10, 20)
    fs, root = fsspec.url_to_fs(place, use_listings_cache=False)
    whole = fs.cat_file(f"{root}/step-00000020.pt")
    for data in (whole[: len(whole) // 2], whole[:-1] + bytes([whole[-1] ^ 1]), b""):
        fs.pipe_file(f"{root}/step-00000020.pt", data)
        state = store.load_newest()
        assert state is not None and state["step"] == 10
    fs.rm_file(f"{root}/step-00000020.pt")  # removed, and the process killed before the rest of it was
    assert store.load_newest()["step"] == 10  # type: ignore[index]
    fs.pipe_file(f"{root}/step-00000030.pt", whole)  # written, and killed before its digest was
    assert store.load_newest()["step"] == 10  # type: ignore[index]
    fs.pipe_file(f"{root}/step-00000010.json", b"{")
    assert store.load_newest() is None


@pytest.mark.parametrize("what", [b"{", b"", b"\xff"], ids=["cut off", "empty", "no text"])
def test_an_older_one_serves_where_what_is_said_of_the_newest_is_damaged(place, what):
    store = saved(place, 10, 20)
    fs, root = fsspec.url_to_fs(place, use_listings_cache=False)
    fs.pipe_file(f"{root}/step-00000020.json", what)
    assert store.load_newest()["step"] == 10  # type: ignore[index]


def test_checkpoints_of_another_training_are_refused(place):
    saved(place, 10)
    with pytest.raises(RequestError, match="other settings"):
        CheckpointStore(place, "another", 2).load_newest()


def test_why_a_training_cannot_go_on_is_told_once(place):
    store = saved(place, 10)
    assert store.failure() is None and store.take_failure() is None
    store.fail("no memory")
    other = CheckpointStore(place, "config", 2)
    assert other.failure() == "no memory" and other.take_failure() == "no memory"
    assert store.failure() is None and store.steps() == [10]


def test_it_is_written_while_the_training_goes_on_and_errors_are_told(tmp_path):
    store = CheckpointStore(str(tmp_path / "c"), "config", 2)
    state = {"weights": torch.zeros(20_000_000)}
    store.save(1, state)
    assert store.steps() == []  # 80 MB are not on the disk yet
    store.wait()
    assert store.steps() == [1]
    store.save(2, {"what": lambda: None})  # cannot be pickled
    with pytest.raises(Exception, match=r"pickle|lambda"):
        store.wait()
    assert store.steps() == [1] and not [name for name in files(str(tmp_path / "c")) if "partial" in name]


def test_a_save_that_failed_is_told_by_the_next_one(tmp_path):
    """As on a disk that is full: a training that heard nothing of it would go on for days without a checkpoint."""
    store = CheckpointStore(str(tmp_path / "c"), "config", 2)
    store.save(1, {"what": lambda: None})  # cannot be pickled
    with pytest.raises(Exception, match=r"pickle|lambda"):
        store.save(2, {"weights": torch.zeros(3)})


def test_nothing_is_left_when_it_is_removed(place):
    saved(place, 10).remove()
    assert saved(place).steps() == []
