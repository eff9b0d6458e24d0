"""Text in frames of films: what each side length costs, finds and makes up, on one core."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tasks.clips.video_io import iter_frames
from tasks.filters import text_in_frames
from tests.bench.tables import print_head, print_row

VIDEOS_DIR = Path(__file__).resolve().parents[2].parent / "shared/media/videos"
FILMS = (
    "bigbuckbunny.mp4",
    "bikes.mp4",
    "carphone_pristine.mp4",
    "decord_flipping_a_pancake.mkv",
    "torchcodec_nasa_13013.mp4",
)
FRAMES_PER_FILM, FRAME_PX = 8, 256
SIDES_PX = (192, 256, 320, 384, 512)
LETTERS_PX = (8, 10, 13, 22)
SUBTITLE = "so we stayed where the river bends"
FOUND, SEEN = 0.3, 0.005  # of the subtitle's box at least; of the frame at least


def main() -> None:
    """Prints a row per side length: time, subtitles found by the size of their letters, frames with text made up."""
    cv2.setNumThreads(1)
    if not VIDEOS_DIR.exists():
        print("the shared films are not here")
        return
    clean = [frame for name in FILMS for frame in _frames(VIDEOS_DIR / name)]
    print(f"{len(clean)} frames of {len(FILMS)} films at {FRAME_PX}x{FRAME_PX}, one at a time.\n")
    print_head("side", "a frame", *(f"letters of {size} px found" for size in LETTERS_PX), "text made up")
    for side_px in SIDES_PX:
        text_in_frames.SIDE_PX = side_px
        started_s = time.process_time()
        empty = np.array([text_in_frames.text_areas(frame[None]).shown for frame in clean])
        taken_ms = 1000 * (time.process_time() - started_s) / len(clean)
        found = []
        for size in LETTERS_PX:
            font = ImageFont.load_default(size)
            shown = np.array([text_in_frames.text_areas(_titled(frame, font)[None]).shown for frame in clean])
            left, top, right, bottom = font.getbbox(SUBTITLE)
            box = (min(right, FRAME_PX) - left) * (bottom - top) / FRAME_PX**2
            found.append(f"{np.mean(shown - empty > FOUND * box):.0%}")
        print_row(f"{side_px} px", f"{taken_ms:.0f} ms", *found, f"{np.mean(empty > SEEN):.0%} of frames")


def _frames(path: Path) -> list[np.ndarray]:
    frames = [frame for _, frame in iter_frames(path, FRAME_PX, FRAME_PX)]
    return [frames[number] for number in np.linspace(0, len(frames) - 1, FRAMES_PER_FILM).astype(int)]


def _titled(frame_hwc: np.ndarray, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> np.ndarray:
    page = Image.fromarray(frame_hwc)
    width = font.getbbox(SUBTITLE)[2]
    place = (max(0, (FRAME_PX - width) / 2), FRAME_PX - 34)
    ImageDraw.Draw(page).text(place, SUBTITLE, (255, 255, 255), font, stroke_width=1, stroke_fill=(0, 0, 0))
    return np.asarray(page)


if __name__ == "__main__":
    main()
