"""The record of a training that has begun and is not registered yet: `training.json` in its work folder.

The folder's name is a digest of the training's configuration. The same request finds what an interrupted training has
left and goes on with it; another configuration has another folder. When the training is registered the folder goes
away, so a finished training is never taken for an interrupted one.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from storage.local.json_files import read_json, write_json
from tasks.errors import RequestError
from tasks.training.settings import LATER_SETTINGS, WITHOUT_EFFECT

RECORD_FILE = "training.json"
_LOCK_FILE = "training.lock"


def config_digest(config: Mapping[str, Any]) -> str:
    """Returns the blake2b-128 of a configuration of plain JSON, but for the settings that do not change the result."""
    text = json.dumps(_with_effect(config), sort_keys=True, ensure_ascii=False)
    return blake2b(text.encode(), digest_size=16).hexdigest()


class TrainingRecord:
    """One training under way, which is this process's alone while it is open; a context manager.

    `folder` is its work folder, `resumed` whether an earlier process began it, `run_id` the MLflow run that it
    then had, `started_at` when it was begun, in UTC. `abandoned_run_id` is the run of a training that was given
    up for this one.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any], lock: IO[str]) -> None:
        self.folder = folder
        self.config = dict(config)
        self.digest = config_digest(config)
        self.run_id: str | None = None
        self.abandoned_run_id: str | None = None
        self.resumed = False
        self.started_at = _now()
        self._lock = lock

    @classmethod
    def open(cls, root: Path, config: Mapping[str, Any], fresh: bool = False) -> Self:
        """Goes on with the training of this configuration that lies under `root`, or begins one.

        `fresh` gives up what is there. Raises RequestError when the same training goes on in another process,
        StorageError when its record cannot be read or written.
        """
        folder = root / config_digest(config)[:12]
        record = cls(folder, config, _locked(folder))
        try:
            record._take_over()
            if fresh:
                record.begin_anew()
            record._write()
        except BaseException:
            record.close()
            raise
        return record

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def note_run(self, run_id: str) -> None:
        """Notes the MLflow run that the training is logged in."""
        self.run_id = run_id
        self._write()

    def begin_anew(self) -> None:
        """Gives up what an earlier process has left of this training."""
        self.abandoned_run_id = self.run_id
        self._empty()
        self.run_id, self.resumed, self.started_at = None, False, _now()
        self._write()

    def finish(self) -> None:
        """Removes the work folder of a training that has been registered."""
        self._empty()
        (self.folder / _LOCK_FILE).unlink()
        with suppress(OSError):  # where the same training has just been begun again, the folder is in use
            self.folder.rmdir()
        self.close()

    def close(self) -> None:
        """Lets other processes open the training."""
        self._lock.close()

    def _take_over(self) -> None:
        before = read_json(self.folder / RECORD_FILE)
        if before is None or before.get("digest") != self.digest:
            self._empty()  # leftovers without a record are no training
            return
        self.run_id, self.started_at, self.resumed = before["run_id"], before["started_at"], True

    def _write(self) -> None:
        content = {
            "config": self.config,
            "digest": self.digest,
            "run_id": self.run_id,
            "started_at": self.started_at,
        }
        write_json(self.folder / RECORD_FILE, content)

    def _empty(self) -> None:
        """Removes everything but the lock; the record first, since without it the rest counts for nothing."""
        (self.folder / RECORD_FILE).unlink(missing_ok=True)
        for path in self.folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != _LOCK_FILE:
                path.unlink()


def _locked(folder: Path) -> IO[str]:
    """Holds the folder's lock until the file is closed or this process ends, however it ends."""
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = (folder / _LOCK_FILE).open("w")
        except FileNotFoundError:
            continue  # one that finished just now has removed the folder
        except OSError as error:
            raise RequestError(f"{folder}: cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            there = (folder / _LOCK_FILE).stat()
        except BlockingIOError as error:
            lock.close()
            raise RequestError(
                f"{folder}: this training goes on in another process: wait for it to end, or end it"
            ) from error
        except FileNotFoundError:
            there = None
        # What was locked may be the file of one that finished just now, which nobody else will find.
        if there is not None and os.path.samestat(there, os.fstat(lock.fileno())):
            return lock
        lock.close()


def _with_effect(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            name: _with_effect(inner)
            for name, inner in value.items()
            if name not in WITHOUT_EFFECT and not (name in LATER_SETTINGS and inner is None)
        }
    return value


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
