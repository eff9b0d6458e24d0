"""Frames of two fields made whole (bwdif, one frame per frame), and the cadence taken out of telecined film."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, get_args

import av
from av.filter import Graph
from av.video.frame import VideoFrame

if TYPE_CHECKING:
    from tasks.clips.reading import Decoded

Scan = Literal["tff", "bff", "auto", "tff-telecine", "bff-telecine"]
"""How a video that is not progressive was scanned: which field comes first (auto: each frame says), film or not."""

SCANS: tuple[Scan, ...] = get_args(Scan)
_TELECINE = "-telecine"
_TICK = Fraction(1, 90_000)


def is_telecine(scan: Scan | None) -> bool:
    """Tells whether frames are dropped: then their times are known only once they are decoded."""
    return scan is not None and scan.endswith(_TELECINE)


def interlaced_part(scan: object) -> float:
    """Gives the share of frames that are two fields of different times: two in five of telecined film."""
    if scan not in SCANS:
        return 0.0
    return 0.4 if str(scan).endswith(_TELECINE) else 1.0


def whole_frames(frames: Iterator[Decoded], scan: Scan, fps: float) -> Iterator[Decoded]:
    """Gives frames without comb teeth; of the first and the last one side is guessed, as they have no neighbour there.

    Deinterlaced frames keep all that came with them; telecined film (`fps` is the stream's) comes in fewer.
    """
    waiting: deque[Decoded] = deque()
    graph: _Graph | None = None
    for decoded in frames:
        if graph is None or not graph.fits(decoded.frame):
            # A stream may change its size on the way: what is under way is finished first.
            yield from () if graph is None else graph.finish(waiting)
            graph = _Graph(scan, decoded.frame, fps)
        waiting.append(decoded)
        yield from graph.push(waiting)
    yield from () if graph is None else graph.finish(waiting)


class _Graph:
    """A graph of libav's filters for frames of one size and format."""

    def __init__(self, scan: Scan, frame: VideoFrame, fps: float) -> None:
        self._telecine = is_telecine(scan)
        self._shape = frame.width, frame.height, frame.format.name
        self._graph = Graph()
        self._graph.threads = 1
        order = scan.removesuffix(_TELECINE)
        filters = [("bwdif", f"mode=send_frame:parity={order}:deint=all")]
        if self._telecine:
            filters = [
                ("fieldmatch", f"order={order}:combmatch=full"),
                ("bwdif", "mode=send_frame:parity=auto:deint=interlaced"),
                ("decimate", "cycle=5"),
            ]
        rate = Fraction(fps).limit_denominator(1001)
        size, pix_fmt = f"{frame.width}x{frame.height}", frame.format.name
        source = f"video_size={size}:pix_fmt={pix_fmt}:time_base={_TICK}:frame_rate={rate}"
        nodes: list[Any] = [self._graph.add("buffer", source)]
        nodes += [self._graph.add(name, options) for name, options in filters]
        nodes.append(self._graph.add("buffersink"))
        for node, following in pairwise(nodes):
            node.link_to(following)
        self._graph.configure()

    def fits(self, frame: VideoFrame) -> bool:
        return self._shape == (frame.width, frame.height, frame.format.name)

    def push(self, waiting: deque[Decoded]) -> Iterator[Decoded]:
        """Puts the last of those that wait in and gives those that are done."""
        decoded = waiting[-1]
        frame = decoded.frame
        frame.pts, frame.time_base = round(decoded.time_s / _TICK), _TICK
        self._graph.push(frame)
        yield from self._pulled(waiting)

    def finish(self, waiting: deque[Decoded]) -> Iterator[Decoded]:
        self._graph.push(None)
        yield from self._pulled(waiting)
        waiting.clear()

    def _pulled(self, waiting: deque[Decoded]) -> Iterator[Decoded]:
        while True:
            try:
                frame: Any = self._graph.pull()
            except (av.BlockingIOError, av.EOFError):
                return
            if self._telecine:
                # Fewer come out than went in; none stands before the first that waits.
                while len(waiting) > 1 and waiting[1].time_s <= frame.time + float(_TICK):
                    waiting.popleft()
                yield replace(waiting[0], frame=frame, time_s=float(frame.time))
            else:
                yield replace(waiting.popleft(), frame=frame)
