"""A still picture of a whole video: every frame numbered, one coloured rail per clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

FRAMES_PER_ROW = 8
MIN_CELL_PX = 112
GAP_PX = 8
RAIL_PX = 6
MARGIN_PX = 20
LABEL_PX = 22
PAPER, INK, FAINT = (250, 249, 246), (28, 28, 30), (120, 120, 126)
# Neighbouring clips differ in hue and in lightness, so the boundary shows in greyscale too.
RAILS = ((38, 84, 160), (222, 130, 40), (20, 122, 104), (196, 90, 140))


def write_contact_sheet(frames_nhwc: np.ndarray, path: Path, frames_per_clip: int) -> Path:
    """Writes frames, uint8 (n, h, w, 3), as a PNG; each clip starts a row, under a rail and its name."""
    num_frames, height, width = frames_nhwc.shape[:3]
    # Whole-number enlargement keeps the pixels of a small video as they are.
    zoom = max(1, -(-MIN_CELL_PX // width))
    cell_w, cell_h = width * zoom, height * zoom
    columns = min(FRAMES_PER_ROW, frames_per_clip, num_frames)
    clips = [range(i, min(i + frames_per_clip, num_frames)) for i in range(0, num_frames, frames_per_clip)]
    clip_heights = [LABEL_PX + RAIL_PX + GAP_PX + _rows(clip) * (cell_h + LABEL_PX) for clip in clips]
    sheet_w = 2 * MARGIN_PX + columns * cell_w + (columns - 1) * GAP_PX
    sheet = Image.new("RGB", (sheet_w, 2 * MARGIN_PX + sum(clip_heights) + GAP_PX * (len(clips) - 1)), PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=13)

    top = MARGIN_PX
    for index, clip in enumerate(clips):
        title = f"clip {index + 1} of {len(clips)} \u00b7 frames {clip[0]} to {clip[-1]}"
        draw.text((MARGIN_PX, top), title, INK, font)
        rail = (MARGIN_PX, top + LABEL_PX, sheet_w - MARGIN_PX - 1, top + LABEL_PX + RAIL_PX - 1)
        draw.rectangle(rail, RAILS[index % len(RAILS)])
        grid_top = rail[3] + 1 + GAP_PX
        for place, frame in enumerate(clip):
            row, column = divmod(place, columns)
            x, y = MARGIN_PX + column * (cell_w + GAP_PX), grid_top + row * (cell_h + LABEL_PX)
            picture = Image.fromarray(frames_nhwc[frame]).resize((cell_w, cell_h), Image.Resampling.NEAREST)
            sheet.paste(picture, (x, y))
            draw.text((x, y + cell_h + 2), str(frame), FAINT, font)
        top += clip_heights[index] + GAP_PX
    sheet.save(path, format="PNG", optimize=True)
    return path


def _rows(clip: range) -> int:
    return -(-len(clip) // FRAMES_PER_ROW)
