"""Decodes a video once and gives the frames of several clips, each as soon as its last frame is there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.clips.deinterlacing import Scan
from tasks.clips.reading import Decoded, iter_decoded
from tasks.clips.resizing import Resizer, upright_size
from tasks.clips.sampling import NearestFrames
from tasks.corpora.media import Media, media_name
from tasks.errors import ItemError

SEEK_GAP_S = 10.0  # over a longer gap between two clips it is quicker to start again at a keyframe


@dataclass(frozen=True)
class ClipFrames:
    """The frames of one clip, uint8 RGB (n, h, w, 3), and the (width, height) of the upright source."""

    frames_nhwc: np.ndarray
    source_size: tuple[int, int]


def frames_at(
    media: Media,
    clips_instants_s: Sequence[np.ndarray],
    width: int,
    height: int,
    scan: Scan | None = None,
) -> Iterator[ClipFrames]:
    """Yields, per clip, the frames nearest to its ascending instants (in seconds), in the order of the clips.

    Clips come with ascending first and last instants; `scan` is that of the video
    (`interlacing.scan_of`). ItemError (stage `decode`) when the video ends before one.
    """
    first = 0
    for index in range(1, len(clips_instants_s) + 1):
        if (
            index == len(clips_instants_s)
            or clips_instants_s[index][0] - clips_instants_s[index - 1][-1] > SEEK_GAP_S
        ):
            yield from _frames_in_one_pass(media, clips_instants_s[first:index], width, height, scan)
            first = index


def _frames_in_one_pass(
    media: Media, clips_instants_s: Sequence[np.ndarray], width: int, height: int, scan: Scan | None
) -> Iterator[ClipFrames]:
    resizer = Resizer(media_name(media), width, height)
    pickers: list[NearestFrames[Decoded]] = [
        NearestFrames(instants.tolist()) for instants in clips_instants_s
    ]
    taken: list[list[np.ndarray]] = [[] for _ in pickers]
    resized: list[tuple[Decoded, np.ndarray]] = []
    size, done = (0, 0), 0

    def resize(decoded: Decoded) -> np.ndarray:
        # Clips that overlap, and videos slower than their clips, take a frame more than once, and soon after.
        for known, frame_hwc in resized:
            if known is decoded:
                return frame_hwc
        resized[:] = [*resized[-1:], (decoded, resizer.upright(decoded))]
        return resized[-1][1]

    for decoded in iter_decoded(media, float(clips_instants_s[0][0]), scan):
        for picker, frames in zip(pickers[done:], taken[done:], strict=True):
            frames.extend(resize(frame) for frame in picker.push(decoded.time_s, decoded))
        size = size if size != (0, 0) else upright_size(decoded)
        while done < len(pickers) and pickers[done].pending_s is None:
            yield ClipFrames(np.stack(taken[done]), size)
            taken[done] = []
            done += 1
        if done == len(pickers):
            return
    for picker, frames in zip(pickers[done:], taken[done:], strict=True):
        frames.extend(resize(frame) for frame in picker.finish())
        if picker.pending_s is not None:
            end = "before its first frame" if picker.last_s is None else f"at {picker.last_s:.2f} s"
            raise ItemError(
                f"{media_name(media)}: ends {end}, its index promises {picker.pending_s:.2f} s",
                stage="decode",
            )
        yield ClipFrames(np.stack(frames), size)
