"""Secrets of the servers that we start: one file each under `$VIDRD_HOME/secrets`, for this user's eyes only."""

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from storage.errors import StorageError
from storage.local.home import home

_FOLDER_MODE = 0o700
_FILE_MODE = 0o600
_SECRET_BYTES = 32


def secrets_dir() -> Path:
    """The folder of the secrets, made with mode 700 where it is missing; StorageError when others may enter it."""
    folder = home() / "secrets"
    folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    _check_private(folder)
    return folder


def make_private(folder: Path) -> None:
    """Makes a folder that nobody else may enter; one of ours that others may is shut."""
    folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    found = folder.stat()
    if found.st_uid == os.getuid() and stat.S_IMODE(found.st_mode) & 0o077:
        folder.chmod(_FOLDER_MODE)


def secret(name: str) -> str:
    """Gives the secret of that name, made at the first call; StorageError when others may read it or it is empty."""
    path = secrets_dir() / name
    if not path.exists():
        write_private(path, secrets.token_urlsafe(_SECRET_BYTES), replace=False)
    return _read(path)


def known_secret(name: str) -> str | None:
    """The secret of that name if there is one; nothing is made."""
    path = home() / "secrets" / name
    return _read(path) if path.exists() else None


def write_private(path: Path, content: str, *, replace: bool = True) -> None:
    """Writes a file that has its content and mode 600 from the moment on that it is there.

    Without `replace`, a file that another process has written in the meantime stays as it is.
    """
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            unfinished.replace(path)
        else:
            with suppress(FileExistsError):
                os.link(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _read(path: Path) -> str:
    _check_private(path)
    content = path.read_text(encoding="utf-8").strip()
    if not content:
        raise StorageError(f"{path}: the secret is empty; delete the file, and a new one is made")
    return content


def _check_private(path: Path) -> None:
    found = path.stat()
    if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise StorageError(
            f"{path}: it is not this user's alone (mode {stat.S_IMODE(found.st_mode):o}, owner {found.st_uid}); "
            "delete it, and a new one is made with mode 600"
        )
