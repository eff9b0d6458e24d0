"""A still picture of a whole video: every frame numbered, one coloured rail per clip.

Of a long video it shows some clips only, so that neither the picture nor the memory grows with the video.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tasks.generation.frames_folder import png_tags

FRAMES_PER_ROW = 8
MIN_CELL_PX = 112
GAP_PX = 8
RAIL_PX = 6
MARGIN_PX = 20
LABEL_PX = 22
PAPER, INK, FAINT = (250, 249, 246), (28, 28, 30), (120, 120, 126)
# Neighbouring clips differ in hue and in lightness, so the boundary shows in greyscale too.
RAILS = ((38, 84, 160), (222, 130, 40), (20, 122, 104), (196, 90, 140))


MAX_CLIPS = 12


@dataclass(frozen=True)
class SheetClip:
    """A clip on the sheet: its place among the clips, its first frame's place in the video, uint8 (n, h, w, 3)."""

    number: int
    first_frame: int
    frames_nhwc: np.ndarray


def clips_to_show(num_clips: int) -> set[int]:
    """Which clips of a video are on its sheet: all, or twelve spread evenly, the first and the last among them."""
    return {round(i) for i in np.linspace(0, num_clips - 1, min(num_clips, MAX_CLIPS))}


def write_contact_sheet(
    clips: Sequence[SheetClip], num_clips: int, path: Path, tags: Mapping[str, str] | None = None
) -> Path:
    """Writes the clips as a PNG that holds the tags; each starts a row, under a rail and its name."""
    height, width = clips[0].frames_nhwc.shape[1:3]
    # Whole-number enlargement keeps the pixels of a small video as they are.
    zoom = max(1, -(-MIN_CELL_PX // width))
    cell_w, cell_h = width * zoom, height * zoom
    columns = min(FRAMES_PER_ROW, max(len(clip.frames_nhwc) for clip in clips))
    clip_heights = [LABEL_PX + RAIL_PX + GAP_PX + _rows(clip) * (cell_h + LABEL_PX) for clip in clips]
    sheet_w = 2 * MARGIN_PX + columns * cell_w + (columns - 1) * GAP_PX
    sheet = Image.new("RGB", (sheet_w, 2 * MARGIN_PX + sum(clip_heights) + GAP_PX * (len(clips) - 1)), PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=13)

    top = MARGIN_PX
    for index, clip in enumerate(clips):
        last_frame = clip.first_frame + len(clip.frames_nhwc) - 1
        title = f"clip {clip.number + 1} of {num_clips} \u00b7 frames {clip.first_frame} to {last_frame}"
        draw.text((MARGIN_PX, top), title, INK, font)
        rail = (MARGIN_PX, top + LABEL_PX, sheet_w - MARGIN_PX - 1, top + LABEL_PX + RAIL_PX - 1)
        draw.rectangle(rail, RAILS[clip.number % len(RAILS)])
        grid_top = rail[3] + 1 + GAP_PX
        for place, frame_hwc in enumerate(clip.frames_nhwc):
            row, column = divmod(place, columns)
            x, y = MARGIN_PX + column * (cell_w + GAP_PX), grid_top + row * (cell_h + LABEL_PX)
            picture = Image.fromarray(frame_hwc).resize((cell_w, cell_h), Image.Resampling.NEAREST)
            sheet.paste(picture, (x, y))
            draw.text((x, y + cell_h + 2), str(clip.first_frame + place), FAINT, font)
        top += clip_heights[index] + GAP_PX
    sheet.save(path, format="PNG", optimize=True, pnginfo=png_tags(tags or {}))
    return path


def _rows(clip: SheetClip) -> int:
    return -(-len(clip.frames_nhwc) // FRAMES_PER_ROW)
