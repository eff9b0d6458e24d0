"""Decodes a long video once and gives its shots with the frames of their clips."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tasks.clips.deinterlacing import Scan
from tasks.clips.grid_frames import GridFrames
from tasks.clips.instants import grid_refinement
from tasks.clips.reading import iter_decoded
from tasks.clips.resizing import Resizer, upright_size
from tasks.clips.sampling import spread
from tasks.clips.settings import ClipSettings
from tasks.clips.shots import Shot, ShotFinder
from tasks.corpora.media import Media, media_name


@dataclass(frozen=True)
class ShotWindow:
    """One clip of a shot: the instant of the grid it starts at, and its frames, uint8 RGB (n, h, w, 3)."""

    instant: int
    frames_nhwc: np.ndarray


def shot_windows(
    media: Media, settings: ClipSettings, scan: Scan | None = None
) -> Iterator[tuple[Shot, tuple[int, int], list[ShotWindow]]]:
    """Yields the shots in order, the (width, height) of the upright source, and the clips of each, often none.

    Cuts are looked for in small frames; those of the clips' size are kept only where a clip may look, for as long
    as the shot is open: `max_shot_s` and the seconds a fade may take.
    """
    resizer = Resizer(media_name(media), settings.width, settings.height)
    grid = GridFrames(resizer, settings.fps * grid_refinement(settings))
    finder = ShotFinder(settings)
    size = (0, 0)
    for index, decoded in enumerate(iter_decoded(media, scan=scan)):
        size = upright_size(decoded) if index == 0 else size
        grid.push(index, decoded)
        for shot in finder.push(decoded.time_s, resizer.small(decoded)):
            yield shot, size, _windows(shot, grid, settings)
        grid.forget_before(finder.first)
    grid.finish()
    for shot in finder.finish():
        yield shot, size, _windows(shot, grid, settings)


def _windows(shot: Shot, grid: GridFrames, settings: ClipSettings) -> list[ShotWindow]:
    step = settings.frame_stride * grid_refinement(settings)
    reach = (settings.num_frames - 1) * step + 1
    runs = grid.runs(shot.first, shot.stop, shot.odd)
    starts = [(run, start) for run in runs for start in range(len(run) - reach + 1)]
    return [
        ShotWindow(
            run[start].instant, np.stack([frame.frame_hwc for frame in run[start : start + reach : step]])
        )
        for run, start in (starts[position] for position in spread(len(starts), settings.clips_per_source))
    ]
