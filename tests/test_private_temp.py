"""What is temporary lies in a folder of this user alone, whatever somebody else has made in the shared one."""

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from storage.local.private_temp import keep_private_temp, private_temp

# Where the libraries put what they run or take orders from, as each of them says.
WHERE = """
from flows.environment import prepare
prepare()
import tempfile
from uuid import uuid4
from prefect.runner import Runner
from torch._inductor.runtime.cache_dir_utils import cache_dir
print(tempfile.gettempdir(), cache_dir(), Runner()._tmp_dir, sep="\\n")
"""


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


def _is_private(folder: Path) -> bool:
    found = folder.lstat()
    return (
        stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and stat.S_IMODE(found.st_mode) == 0o700
    )


def test_it_is_this_users_alone_and_the_same_each_time(shared):
    folder = Path(private_temp(str(shared)))
    assert folder.parent == shared and _is_private(folder)
    assert private_temp(str(shared)) == str(folder)
    assert private_temp(str(folder)) == str(folder)  # a process that inherits it makes no other


@pytest.mark.parametrize(
    "made", ["a link", "a file", "a folder that all may write to", "a folder of another"]
)
def test_what_somebody_else_has_made_there_is_not_used(shared, tmp_path, made):
    theirs = shared / f"vidrd-{os.getuid()}"
    if made == "a link":
        (tmp_path / "theirs").mkdir(mode=0o700)
        theirs.symlink_to(tmp_path / "theirs")
    elif made == "a file":
        theirs.touch()
    else:
        theirs.mkdir(mode=0o700)
        theirs.chmod(0o777 if "all" in made else 0o700)
        if "another" in made:
            if os.getuid() != 0:
                pytest.skip("only the superuser can give a folder away")
            os.chown(theirs, 65534, 65534)
    folder = Path(private_temp(str(shared)))
    assert folder != theirs and folder.parent == shared and _is_private(folder)
    assert private_temp(str(folder)) == str(folder)


@pytest.mark.slow
def test_the_libraries_keep_theirs_in_it(shared, tmp_path):
    kept = {name: value for name, value in os.environ.items() if name != "TORCHINDUCTOR_CACHE_DIR"}
    environment = kept | {"TMPDIR": str(shared), "VIDRD_HOME": str(tmp_path / "home")}
    done = subprocess.run([sys.executable, "-c", WHERE], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    private = shared / f"vidrd-{os.getuid()}"
    places = [Path(line) for line in done.stdout.splitlines()]
    assert places[0] == private and all(place.is_relative_to(private) for place in places), places
    assert _is_private(private)


def test_it_is_shown_to_be_in_use():
    folder = tempfile.gettempdir()
    os.utime(folder, (0, 0))
    keep_private_temp()
    assert os.stat(folder).st_mtime > 0
