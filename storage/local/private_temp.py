"""The folder for what is temporary: one that no other user of the machine may enter.

In the one that all share, names can be foreseen: Ray's session, whose folders everybody may write to, PyTorch's
compiled code, which is run, Prefect's storage of runs. Whoever makes such a folder first decides what lies in it.
"""

import os
import stat
import tempfile
from contextlib import suppress


def use_private_temp() -> None:
    """Has this process and all that it starts keep temporary files in a folder of this user alone."""
    os.environ["TMPDIR"] = tempfile.tempdir = private_temp(tempfile.gettempdir())


def private_temp(shared: str) -> str:
    """A folder of this user alone, made inside a shared one; a folder that is this user's alone is taken as it is.

    It is the same each time, so that what is kept there is found again, unless somebody else has made it.
    """
    if _is_ours_alone(shared):
        return shared
    folder = os.path.join(shared, f"vidrd-{os.getuid()}")
    with suppress(FileExistsError):
        os.mkdir(folder, mode=0o700)
    if _is_ours_alone(folder):
        return folder
    return tempfile.mkdtemp(prefix=f"vidrd-{os.getuid()}-", dir=shared)


def keep_private_temp() -> None:
    """Shows whoever clears the shared folder of what is old that ours is in use."""
    with suppress(OSError):
        os.utime(tempfile.gettempdir())


def _is_ours_alone(folder: str) -> bool:
    found = os.lstat(folder)
    return (
        stat.S_ISDIR(found.st_mode)
        and found.st_uid == os.getuid()
        and not stat.S_IMODE(found.st_mode) & 0o077
    )
