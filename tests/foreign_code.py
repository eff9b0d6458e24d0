"""Files whose loading runs code, as an attacker would hand them out: what runs leaves a file behind.

`plant(folder, name)` writes one and says where; `ran(folder)` whether its code has run.
"""

import io
import json
import os
import tarfile
import zipfile
from pathlib import Path

import torch
from torch import nn

KINDS = ("pickle", "checkpoint", "old-checkpoint", "state-dict", "torchscript", "zip")
_TRACE = "code-has-run"


def ran(folder: Path) -> bool:
    """Whether anything that was planted in this folder has run."""
    return (folder / _TRACE).exists()


class _Leaves:
    """An object that makes a folder where it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self._path = str(folder / _TRACE)

    def __reduce__(self) -> tuple:
        return os.mkdir, (self._path,)


def plant(folder: Path, kind: str, name: str) -> Path:
    """Writes a file of weights of that kind, whatever its name says."""
    import pickle

    path, leaves = folder / name, _Leaves(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"params": leaves, "batch_stats": {}}))
    elif kind == "checkpoint":
        torch.save({"state_dict": leaves}, path)
    elif kind == "old-checkpoint":
        torch.save(leaves, path, _use_new_zipfile_serialization=False)
    elif kind == "state-dict":
        torch.save({"weight": torch.zeros(1), "hook": leaves}, path)
    elif kind == "torchscript":
        script = torch.jit.script(_Script(str(folder / _TRACE)))
        script.save(str(path))
        (folder / _TRACE).unlink(missing_ok=True)
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(leaves))
            archive.writestr("archive/version", "3\n")
    return path


class _Script(nn.Module):
    """TorchScript that writes a file when it is loaded, before anybody calls it."""

    def __init__(self, trace: str) -> None:
        super().__init__()
        self.trace, self.count = trace, 0

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return clips + self.count

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.trace, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.trace = state[0]
        self.training = state[1]
        self.count = torch.from_file(self.trace, True, 8).numel()


def plant_module(folder: Path, into: Path, name: str) -> None:
    """Writes a module of Python beside a model's files that makes a folder when it is imported."""
    into.mkdir(parents=True, exist_ok=True)
    lines = ["import os", f"os.makedirs({str(folder / _TRACE)!r}, exist_ok=True)"]
    for kind in ("Model", "Config", "Tokenizer"):
        lines += [f"class {kind}:", "    pass"]
    (into / f"{name}.py").write_text("\n".join(lines) + "\n")


def plant_tar(folder: Path, path: Path, picture: bytes) -> None:
    """A webdataset tar whose members include pickles, which that library's own reader would load."""
    with tarfile.open(path, "w") as tar:
        for member, data in (
            ("a.png", picture),
            ("a.txt", b"a red circle"),
            ("a.pkl", plant(folder, "pickle", "member").read_bytes()),
            ("a.pyd", plant(folder, "pickle", "member").read_bytes()),
            ("a.pth", plant(folder, "checkpoint", "member").read_bytes()),
            ("a.json", json.dumps({"caption": "a red circle"}).encode()),
        ):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
