"""A generated video as a folder of PNGs, one a frame, without loss."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

_NAME = re.compile(r"frame-\d{6}\.png")


class FramesWriter:
    """Takes frames, uint8 (h, w, 3), as `VideoWriter` does; the folder has its name once it is finished."""

    def __init__(self, path: Path, tags: Mapping[str, str]):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self._frames = path, 0
        self._unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
        self._unfinished.mkdir()
        self._about = png_tags(tags)

    def add(self, frame_hwc: np.ndarray) -> None:
        """Writes the next frame."""
        name = f"frame-{self._frames:06d}.png"
        Image.fromarray(frame_hwc).save(self._unfinished / name, pnginfo=self._about)
        self._frames += 1

    def finish(self) -> None:
        """Gives the folder its name, in the place of an earlier one of frames."""
        if self.path.is_dir():
            shutil.rmtree(self.path)
        self._unfinished.rename(self.path)

    def abandon(self) -> None:
        """Removes what is unfinished; a finished folder stays."""
        shutil.rmtree(self._unfinished, ignore_errors=True)


def png_tags(tags: Mapping[str, str]) -> PngInfo:
    """Gives tags as a PNG holds them."""
    info = PngInfo()
    for name, value in tags.items():
        info.add_itxt(name, value)
    return info


def strange_file(folder: Path) -> str | None:
    """Gives a file in a folder that is no frame of such a video, None where there is none."""
    return next((name for name in sorted(os.listdir(folder)) if not _NAME.fullmatch(name)), None)


def frames_of(folder: Path) -> Iterator[Path]:
    """Gives the frames of such a folder in their order."""
    return (folder / name for name in sorted(os.listdir(folder)) if _NAME.fullmatch(name))
