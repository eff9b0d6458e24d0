"""Checkpoints of one training: what they hold, and where they lie, at a folder or an address.

`snapshot` takes the state out of a training and `restore` puts it back. `CheckpointStore` writes it whole or not at
all, while the training goes on:
`step-00000200.pt` is the state, `step-00000200.json` its digest, written last: without it, or when the state does not
fit it, the checkpoint does not count and an older one serves.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from fsspec.core import url_to_fs
from torch import nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map_only

from tasks.errors import RequestError
from tasks.training.devices import Group
from tasks.training.optimizers import Ema, load_weights

_PREFIX = "step-"
_FAILURE = "failure.json"
_CHUNK_BYTES = 16 * 2**20
_PART = "trainee"  # the name that it has in the checkpoints of earlier versions


def snapshot(
    trained: Mapping[str, nn.Parameter],
    ema: Ema,
    optimizer: torch.optim.Optimizer,
    part_state: Mapping[str, Any],
    group: Group,
) -> dict[str, Any]:
    """Returns copies, in main memory, of all that changes in a training; every worker calls it, the first gets them.

    `part_state` is what the part has learned beside its parameters.
    """
    changing = {
        "trained": {name: parameter.detach() for name, parameter in trained.items()},
        "ema": ema.weights,
        "optimizer": optimizer.state_dict(),
        _PART: part_state,
    }

    def copy(tensor: torch.Tensor) -> torch.Tensor:
        full = whole(tensor.detach())
        return full.to("cpu", copy=True) if group.rank == 0 else full.new_empty(0)

    return tree_map_only(torch.Tensor, copy, changing) | {"rng": group.gather(_rng_state())}


def restore(
    saved: Mapping[str, Any],
    trained: Mapping[str, nn.Parameter],
    ema: Ema,
    optimizer: torch.optim.Optimizer,
    group: Group,
) -> Mapping[str, Any]:
    """Puts what `snapshot` gave back, on any number of workers; returns its `part_state`."""
    for place, values in ((trained, saved["trained"]), (ema.weights, saved["ema"])):
        load_weights(place, {name: part_like(value, place[name]) for name, value in values.items()})
    optimizer.load_state_dict(_parts_of(saved["optimizer"], list(trained.values())))
    if len(saved["rng"]) == group.size:
        _set_rng_state(saved["rng"][group.rank])
    part_state: Mapping[str, Any] = saved[_PART]
    return part_state


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """Returns a tensor as it is on all ranks together, on every one of them; every rank has to call it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def part_like(full: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """Returns this rank's part of a whole tensor, sharded as another one is, if it is; every rank has to call it."""
    if not isinstance(tensor, DTensor):
        return full
    return distribute_tensor(full.to(tensor.device), tensor.device_mesh, tensor.placements)


class CheckpointStore:
    """The checkpoints in a folder or at an fsspec address, of the training that `config_digest` stands for.

    The newest `keep` stay. Raises RequestError when the place holds those of another training.
    """

    def __init__(self, place: str, config_digest: str, keep: int) -> None:
        self._fs, self._root = url_to_fs(place, use_listings_cache=False)
        self.place, self.config_digest, self._keep = place, config_digest, keep
        self._is_local = "file" in (self._fs.protocol if isinstance(self._fs.protocol, tuple) else ())
        if self._is_local:
            self._fs.makedirs(self._root, exist_ok=True)
        self._writer = ThreadPoolExecutor(max_workers=1)
        self._under_way: Future[None] | None = None

    def steps(self) -> list[int]:
        """Returns the steps of the checkpoints that count, ascending."""
        try:
            names = [name.rsplit("/", 1)[-1] for name in self._fs.ls(self._root, detail=False)]
        except FileNotFoundError:  # a bucket knows no empty folder
            return []
        found = (name.removeprefix(_PREFIX).removesuffix(".json") for name in names if name.endswith(".json"))
        return sorted(int(number) for number in found if number.isdigit())

    def save(self, step: int, state: Mapping[str, Any]) -> None:
        """Starts to write a state, which must not change meanwhile; waits for the one before, and raises its error."""
        self.wait()
        self._under_way = self._writer.submit(self._write, step, state)

    def wait(self) -> None:
        """Waits until what was given to `save` lies there for good."""
        if self._under_way is not None:
            self._under_way.result()
            self._under_way = None

    def load_newest(self) -> dict[str, Any] | None:
        """Returns the newest state that is whole, or None; RequestError when it is that of another training."""
        for step in reversed(self.steps()):
            try:
                about = json.loads(self._fs.cat_file(self._path(step, "json")))
            except (ValueError, FileNotFoundError):
                continue
            if about["config"] != self.config_digest:
                raise RequestError(f"{self.place}: holds checkpoints of a training with other settings")
            state = self._read(step, about["digest"])
            if state is not None:
                return state
        return None

    def fail(self, reason: str) -> None:
        """Says for good why this training cannot go on, for those who wait for it."""
        self._put(_FAILURE, json.dumps({"reason": reason}).encode())

    def take_failure(self) -> str | None:
        """Returns what `fail` said, which is then forgotten; None when nothing was."""
        reason = self.failure()
        if reason is not None:
            self._fs.rm_file(f"{self._root}/{_FAILURE}")
        return reason

    def failure(self) -> str | None:
        """Returns what `fail` said; None when nothing was."""
        try:
            return str(json.loads(self._fs.cat_file(f"{self._root}/{_FAILURE}"))["reason"])
        except FileNotFoundError:
            return None

    def remove(self) -> None:
        """Removes all checkpoints, and their place."""
        if self._fs.exists(self._root):
            self._fs.rm(self._root, recursive=True)

    def _write(self, step: int, state: Mapping[str, Any]) -> None:
        folder = self._root if self._is_local else None
        handle, partial = tempfile.mkstemp(prefix=".partial-", dir=folder)
        try:
            with os.fdopen(handle, "wb") as file:
                torch.save(dict(state), file)
                file.flush()
                os.fsync(file.fileno())
            about = {"config": self.config_digest, "digest": _digest(Path(partial))}
            if self._is_local:
                os.replace(partial, self._path(step, "pt"))
            else:
                self._fs.put_file(partial, self._path(step, "pt"))
        finally:
            Path(partial).unlink(missing_ok=True)
        self._put(f"{_PREFIX}{step:08d}.json", json.dumps(about).encode())
        for old in self.steps()[: -self._keep]:
            # First what makes it count, so that a crash in between leaves no half of it.
            for suffix in ("json", "pt"):
                self._fs.rm_file(self._path(old, suffix))

    def _put(self, name: str, data: bytes) -> None:
        """Writes a small file whole or not at all; one object of a bucket is that by itself."""
        path = f"{self._root}/{name}"
        if not self._is_local:
            self._fs.pipe_file(path, data)
            return
        partial = Path(f"{path}.partial")
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)

    def _read(self, step: int, digest: str) -> dict[str, Any] | None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(self._path(step, "pt"))
            try:
                if not self._is_local:
                    path = Path(folder, "state.pt")
                    self._fs.get_file(self._path(step, "pt"), str(path))
                if _digest(path) != digest:
                    return None
            except FileNotFoundError:
                return None
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            return state

    def _path(self, step: int, suffix: str) -> str:
        return f"{self._root}/{_PREFIX}{step:08d}.{suffix}"


def _parts_of(state: Mapping[str, Any], parameters: Sequence[nn.Parameter]) -> dict[str, Any]:
    """Returns an optimizer's state with what it holds per element sharded as the parameters are."""
    parts = {
        number: {
            name: part_like(value, parameters[number]) if value.shape == parameters[number].shape else value
            for name, value in values.items()
        }
        for number, values in state["state"].items()
    }
    return {**state, "state": parts}


def _rng_state() -> dict[str, torch.Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def _set_rng_state(state: Mapping[str, torch.Tensor]) -> None:
    torch.set_rng_state(state["cpu"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())


def _digest(path: Path) -> str:
    digest = blake2b(digest_size=16)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
