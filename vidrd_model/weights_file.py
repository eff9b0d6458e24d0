"""Reads tensors from files of others: safetensors, or PyTorch checkpoints, of which nothing is run."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from vidrd_model.errors import ModelError

_TORCHSCRIPT_MEMBER = "constants.pkl"


def read_weights(path: str | Path, mmap: bool = False) -> Any:
    """The content of a safetensors file, a dict of tensors, or of a PyTorch checkpoint: tensors and plain containers.

    Checkpoints are read with `weights_only`; with `mmap` a large one stays on disk until its tensors are used, and must
    not be written to meanwhile. Raises ModelError, naming the file, for one that cannot be read, that
    needs more than tensors, or that is TorchScript: a program, which is not run.
    """
    path = Path(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        is_zip = zipfile.is_zipfile(path)
        if is_zip and _is_torchscript(path):
            raise ModelError(
                f"{path}: refused, since TorchScript is a program; where you trust it, save its weights alone: "
                'python -c "import sys, torch; torch.save(torch.jit.load(sys.argv[1]).state_dict(), sys.argv[2])" '
                f"{path} WEIGHTS.pt"
            )
        # Files of older torch are no zips and cannot be mapped.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap and is_zip)
    except ModelError:
        raise
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # a damaged file makes the unpickler raise nearly anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"{path}: refused, since it is no file of plain tensors ({reason})") from error


def _is_torchscript(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return any(name.rsplit("/", 1)[-1] == _TORCHSCRIPT_MEMBER for name in archive.namelist())
