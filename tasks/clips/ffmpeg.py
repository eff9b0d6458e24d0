"""The one place that runs the ffmpeg program: finished videos that browsers and ordinary players open."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import ffmpeg
import imageio_ffmpeg
import numpy as np


def write_mp4(path: Path, frames: Iterable[np.ndarray], fps: float, size: tuple[int, int]) -> Path:
    """Writes frames, uint8 (h, w, 3) and size = (width, height), to an H.264 mp4 as they arrive.

    Nothing is left behind under `path` unless the whole video was written. Raises ValueError for a
    size that 4:2:0 video cannot have or a frame of another size, OSError when ffmpeg fails.
    """
    width, height = size
    if width % 2 or height % 2:
        raise ValueError(f"{path.name}: an mp4 of {width}x{height} is not possible, both sides must be even")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}.unfinished.mp4")
    process = _command(unfinished, fps, size).run_async(
        cmd=imageio_ffmpeg.get_ffmpeg_exe(), pipe_stdin=True, pipe_stderr=True
    )
    try:
        _feed(process.stdin, frames, (height, width, 3))
        complaint = process.communicate()[1]
        if process.returncode != 0:
            lines = complaint.decode(errors="replace").strip().splitlines() or ["no reason given"]
            raise OSError(f"ffmpeg could not write {path}: {lines[-1]}")
        os.replace(unfinished, path)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
        unfinished.unlink(missing_ok=True)
    return path


def _command(target: Path, fps: float, size: tuple[int, int]) -> ffmpeg.nodes.OutputStream:
    frames = ffmpeg.input(
        "pipe:0",
        format="rawvideo",
        pix_fmt="rgb24",
        video_size=size,
        framerate=fps,
        protocol_whitelist="pipe",
    )
    # Players guess the colour matrix from the size unless it is said: convert to BT.709 and say so.
    frames = frames.filter("scale", out_color_matrix="bt709", out_range="tv")
    output = ffmpeg.output(
        frames,
        f"file:{target}",
        vcodec="libx264",
        pix_fmt="yuv420p",
        crf=16,
        preset="medium",
        movflags="+faststart",
        colorspace="bt709",
        color_primaries="bt709",
        color_trc="bt709",
    )
    return output.global_args("-nostdin", "-hide_banner", "-loglevel", "error").overwrite_output()


def _feed(pipe: IO[bytes], frames: Iterable[np.ndarray], shape: tuple[int, int, int]) -> None:
    try:
        for frame_hwc in frames:
            if frame_hwc.shape != shape or frame_hwc.dtype != np.uint8:
                got = f"{frame_hwc.shape} of {frame_hwc.dtype}"
                raise ValueError(f"expected frames {shape} of uint8, got {got}")
            pipe.write(frame_hwc.tobytes())
        pipe.flush()
    except BrokenPipeError:
        pass  # ffmpeg has ended early; its own message says why
