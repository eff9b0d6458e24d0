"""Decoding and scaling to 256x256 on one core, beside the bare ffmpeg command line that does the same work."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np

from tasks.clips.video_io import encode, iter_frames
from tests.bench.tables import print_head, print_row
from tests.bench.timing import medians_in_turn_s

SIDE_PX, ROUNDS = 256, 5
SHARED_VIDEOS = Path(__file__).resolve().parents[2].parent / "shared/media/videos"
COVER = (
    f"scale={SIDE_PX}:{SIDE_PX}:force_original_aspect_ratio=increase:flags=bicubic,crop={SIDE_PX}:{SIDE_PX}"
)


def main() -> None:
    """Prints a row per file: frames per second of both, all pinned to one core, ffmpeg's start included."""
    # ffmpeg filters and decodes in threads of their own whatever it is told: one core makes it one worker.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(f"Frames per second on one core, median of {ROUNDS} runs in turn.\n")
    print_head("file", "ffmpeg", "here", "here over ffmpeg")
    with tempfile.TemporaryDirectory(prefix="vidrd-decoding-") as folder:
        for name, path in _files(Path(folder)):
            frames = _decode(path)
            taken_s = medians_in_turn_s(
                {"ffmpeg": lambda path=path: _ffmpeg(path), "here": lambda path=path: _decode(path)}, ROUNDS
            )
            ffmpeg_fps, here_fps = frames / taken_s["ffmpeg"], frames / taken_s["here"]
            print_row(name, f"{ffmpeg_fps:.0f}", f"{here_fps:.0f}", f"{here_fps / ffmpeg_fps:.2f}")


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    encode(folder / "h264.mp4", _drift(1280, 720, 250), 25.0, options={"crf": "20"})
    yield "H.264, 1280x720, drawn", folder / "h264.mp4"
    encode(
        folder / "mpeg4.avi", _drift(320, 240, 1500), 25.0, "mpeg4", container_format="avi", bit_rate=600_000
    )
    yield "MPEG-4 AVI, 320x240, drawn", folder / "mpeg4.avi"
    film = SHARED_VIDEOS / "bigbuckbunny.mp4"
    if film.exists():
        yield "H.264, 1280x720, animated film", film
        small = (
            cv2.resize(frame, (320, 240), interpolation=cv2.INTER_AREA) for _, frame in iter_frames(film)
        )
        encode(folder / "film.avi", small, 25.0, "mpeg4", container_format="avi", bit_rate=600_000)
        yield "MPEG-4 AVI, 320x240, the same film", folder / "film.avi"


def _drift(width: int, height: int, num_frames: int) -> Iterator[np.ndarray]:
    """A view that drifts over clouds of all sizes, frames (h, w, 3)."""
    rng = np.random.default_rng(0)
    clouds = np.zeros((height + 200, width + 200, 3))
    for cells in (4, 16, 64, 256):
        noise = rng.normal(size=(cells, cells, 3))
        clouds += cv2.resize(noise, (width + 200, height + 200), interpolation=cv2.INTER_CUBIC) / cells**0.5
    clouds = np.uint8(255 * (clouds - clouds.min()) / np.ptp(clouds))
    for index in range(num_frames):
        left, top = (round(100 + 100 * wave(index / 40)) for wave in (np.sin, np.cos))
        yield clouds[top : top + height, left : left + width]


def _decode(path: Path) -> int:
    return sum(1 for _ in iter_frames(path, SIDE_PX, SIDE_PX))


def _ffmpeg(path: Path) -> None:
    options = ["-nostdin", "-v", "error", "-threads", "1", "-i", str(path), "-vf", COVER]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), *options, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
