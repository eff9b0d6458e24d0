"""Cuts the one clip that stands for a real video: at its own frame rate or at a given one, from where it is asked.

Decoding, scaling and cropping are those of the dataset's clips (tasks/clips).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np

from tasks.clips.collecting import frames_at
from tasks.clips.interlacing import scan_of
from tasks.clips.reading import frame_times, iter_decoded, probe
from tasks.clips.resizing import Resizer
from tasks.clips.sampling import plan_starts, starts_that_fit
from tasks.corpora.media import Media, media_name, open_media
from tasks.corpora.records import NO_CAPTION, SourceRecord, captions_for_span
from tasks.errors import ItemError

Position = Literal["middle", "random"]


@dataclass(frozen=True)
class ReferenceClip:
    """Frames, uint8 RGB (n, h, w, 3), at `fps`, and what the corpus says they show."""

    frames_nhwc: np.ndarray
    caption: str
    fps: float


def cut_reference_clip(
    source: SourceRecord,
    num_frames: int,
    fps: float | None,
    width: int,
    height: int,
    position: Position,
    seed: int,
) -> ReferenceClip:
    """Cuts the clip of a video: the same source, settings and seed give the same frames, wherever the corpus lies.

    Without `fps` it is `num_frames` consecutive frames as they are decoded (stride 1, nothing sampled again), and
    its rate is the one in the header; with it, the frames nearest in time to instants at that rate, as the dataset's
    clips have them. `middle` is the clip in the middle, `random` draws the start from the seed and the source,
    uniformly among all that fit, as StyleGAN-V's loader does. ItemError when the video is too short (stage
    `sample`) or cannot be read (`read`, `decode`).
    """
    problem = source.problem or (None if source.captions else NO_CAPTION)
    if problem is not None:
        raise ItemError(f"{source.uri}: {problem}", stage="read")
    rng = np.random.default_rng([seed, int(source.source_id, 16)]) if position == "random" else None
    with open_media(source.place) as media:
        if fps is None:
            frames_nhwc, start_s = _native(source, media, num_frames, width, height, rng)
            fps = probe(media).fps
        else:
            frames_nhwc, start_s = _sampled(source, media, num_frames, fps, width, height, rng)
    spans = captions_for_span(source.captions, start_s, start_s + (num_frames - 1) / fps)
    return ReferenceClip(frames_nhwc, (spans or source.captions)[0].text, fps)


def _native(
    source: SourceRecord,
    media: Media,
    num_frames: int,
    width: int,
    height: int,
    rng: np.random.Generator | None,
) -> tuple[np.ndarray, float]:
    # An index promises frames that no decoder gives (packed AVI files), so they are counted as they come.
    scan = scan_of(media)
    available = sum(1 for _ in iter_decoded(media, scan=scan))
    fitting = available - num_frames + 1
    if fitting < 1:
        raise ItemError(
            f"{source.uri}: too short: {available} frames, a clip needs {num_frames}", stage="sample"
        )
    first = (fitting - 1) // 2 if rng is None else int(rng.integers(fitting))
    resizer = Resizer(media_name(media), width, height)
    taken = [
        (decoded.time_s, resizer.upright(decoded))
        for decoded in islice(iter_decoded(media, scan=scan), first, first + num_frames)
    ]
    return np.stack([frame_hwc for _, frame_hwc in taken]), taken[0][0]


def _sampled(
    source: SourceRecord,
    media: Media,
    num_frames: int,
    fps: float,
    width: int,
    height: int,
    rng: np.random.Generator | None,
) -> tuple[np.ndarray, float]:
    scan = scan_of(media)
    times_s = frame_times(media, scan)
    fitting_s = starts_that_fit(times_s, num_frames, fps)
    if not len(fitting_s):
        length_s = times_s[-1] - times_s[0] if times_s else 0.0
        raise ItemError(
            f"{source.uri}: too short: {len(times_s)} frames over {length_s:.2f} s, "
            f"a clip needs {num_frames} over {(num_frames - 1) / fps:.2f} s",
            stage="sample",
        )
    if rng is None:
        (start_s,) = plan_starts(times_s, num_frames, fps, 1)
    else:
        start_s = float(rng.choice(fitting_s))
    (taken,) = frames_at(media, [start_s + np.arange(num_frames) / fps], width, height, scan)
    return taken.frames_nhwc, start_s
