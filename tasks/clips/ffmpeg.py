"""The one place that runs the ffmpeg program: finished videos that browsers and ordinary players open."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

import ffmpeg
import imageio_ffmpeg
import numpy as np


class VideoWriter:
    """A video that frames are added to as they arrive, of `size` = (width, height): mp4, webm or gif by its suffix.

    Nothing is under `path` unless `finish` has returned: the file grows beside it, and `abandon` removes it. As a
    context it finishes, or abandons when an exception leaves it. `tags` are kept in the file; a gif has no place for
    them. Raises ValueError for a size that 4:2:0 video cannot have.
    """

    def __init__(self, path: Path, fps: float, size: tuple[int, int], tags: Mapping[str, str] | None = None):
        width, height = size
        kind = path.suffix.lower().removeprefix(".")
        if kind != "gif" and (width % 2 or height % 2):
            raise ValueError(
                f"{path.name}: an {kind} of {width}x{height} is not possible, both sides must be even"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self._shape = path, (height, width, 3)
        self._unfinished = path.with_name(f".{path.stem}.{os.getpid()}.unfinished.{kind}")
        self._process = _command(self._unfinished, kind, fps, size, tags or {}).run_async(
            cmd=imageio_ffmpeg.get_ffmpeg_exe(), pipe_stdin=True, pipe_stderr=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.finish()
        else:
            self.abandon()

    def add(self, frame_hwc: np.ndarray) -> None:
        """Appends a frame, uint8 (h, w, 3); ValueError for one of another size."""
        if frame_hwc.shape != self._shape or frame_hwc.dtype != np.uint8:
            raise ValueError(
                f"expected frames {self._shape} of uint8, got {frame_hwc.shape} of {frame_hwc.dtype}"
            )
        with suppress(BrokenPipeError):  # ffmpeg has ended early; finish says why
            self._process.stdin.write(frame_hwc.tobytes())

    def finish(self) -> None:
        """Ends the file and gives it its name; OSError with ffmpeg's reason when it failed."""
        try:
            with suppress(BrokenPipeError):
                self._process.stdin.flush()
            complaint = self._process.communicate()[1]
            if self._process.returncode != 0:
                lines = complaint.decode(errors="replace").strip().splitlines() or ["no reason given"]
                raise OSError(f"ffmpeg could not write {self.path}: {lines[-1]}")
            os.replace(self._unfinished, self.path)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Ends ffmpeg and removes what is unfinished; a finished file stays."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()
        self._unfinished.unlink(missing_ok=True)


def write_mp4(path: Path, frames: Iterable[np.ndarray], fps: float, size: tuple[int, int]) -> Path:
    """Writes frames, uint8 (h, w, 3) and size = (width, height), to an H.264 mp4; see `VideoWriter`."""
    with VideoWriter(path, fps, size) as writer:
        for frame_hwc in frames:
            writer.add(frame_hwc)
    return path


_CODECS: dict[str, dict[str, object]] = {
    "mp4": {"vcodec": "libx264", "crf": 16, "preset": "medium", "movflags": "+faststart"},
    # Slower settings make a file a tenth smaller in many times the time.
    "webm": {"vcodec": "libvpx-vp9", "crf": 20, "video_bitrate": 0, "deadline": "good", "cpu-used": 4},
}


def ffmpeg_version() -> str:
    """The version that the program says it is of; OSError, naming it, when it is not there or ends with an error."""
    program = imageio_ffmpeg.get_ffmpeg_exe()
    done = subprocess.run([program, "-hide_banner", "-version"], capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{program} -version ends with {done.returncode}; unset IMAGEIO_FFMPEG_EXE")
    return done.stdout.split(" Copyright")[0].strip()


def _command(
    target: Path, kind: str, fps: float, size: tuple[int, int], tags: Mapping[str, str]
) -> ffmpeg.nodes.OutputStream:
    frames = ffmpeg.input(
        "pipe:0",
        format="rawvideo",
        pix_fmt="rgb24",
        video_size=size,
        framerate=fps,
        protocol_whitelist="pipe",
        format_whitelist="rawvideo",
    )
    if kind == "gif":
        # A palette for each frame: one for all would need all of them at once.
        split = frames.split()
        palette = split[0].filter("palettegen", stats_mode="single")
        frames = ffmpeg.filter([split[1], palette], "paletteuse", new=1, dither="sierra2_4a")
        output = ffmpeg.output(frames, f"file:{target}", format="gif", loop=0)
    else:
        # Players guess the colour matrix from the size unless it is said: convert to BT.709 and say so.
        frames = frames.filter("scale", out_color_matrix="bt709", out_range="tv")
        output = ffmpeg.output(
            frames,
            f"file:{target}",
            format=kind,
            pix_fmt="yuv420p",
            colorspace="bt709",
            color_primaries="bt709",
            color_trc="bt709",
            **_CODECS[kind],
            **{f"metadata:g:{n}": f"{name}={value}" for n, (name, value) in enumerate(tags.items())},
        )
    return output.global_args("-nostdin", "-hide_banner", "-loglevel", "error").overwrite_output()
