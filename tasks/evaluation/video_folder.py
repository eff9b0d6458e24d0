"""A folder of finished videos to be scored: which of them are taken, and that they are alike.

Told from their headers and first frames.

Nothing is cut, scaled or repeated to make unlike videos alike: each of these would change the figures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from tasks.clips.interlacing import scan_of
from tasks.clips.reading import frame_times, iter_decoded, probe
from tasks.clips.resizing import upright_size
from tasks.corpora.corpus import Corpus
from tasks.corpora.media import content_digest, open_media
from tasks.corpora.readers import read_sources
from tasks.corpora.records import NO_CAPTION, SourceRecord, captions_for_span
from tasks.corpora.tree import is_missing
from tasks.errors import ItemError, RequestError
from tasks.evaluation.protocols import Protocol
from tasks.evaluation.settings import EvaluationSettings

SAME_FPS = 0.01  # containers round the times of frames, GIF to 1/100 s; the nearest usual rates are 4 % apart
_OFF_BEAT = (
    0.25  # of a step: how far a frame may lie from its place on an even grid, beyond the rounding of times
)
_NAMED = 3  # odd files that a message names before it counts


@dataclass(frozen=True)
class Header:
    """What a file says of its video before it is decoded; sizes in pixels as a viewer shows them.

    `longest_s` is the longest time from a frame to the next where frames do not come at one rate, else None.
    """

    num_frames: int
    fps: float
    width: int
    height: int
    longest_s: float | None = None


@dataclass(frozen=True)
class VideoFolder:
    """The videos to be scored in the order of their names, all alike as `header` says; `found` is how many there are.

    `captions` are one per video, or None where the folder has none at all.
    """

    folder: Path
    sources: list[SourceRecord]
    captions: list[str] | None
    header: Header
    found: int

    def adapt(self, settings: EvaluationSettings) -> EvaluationSettings:
        """Returns the settings with what the videos decide: their number and size; none is longer than the others."""
        mine = {"num_videos": len(self.sources), "width": self.header.width, "height": self.header.height}
        return settings.model_copy(update={**mine, "long_videos": 0})

    def digests(self) -> list[str]:
        """Returns the digests of the files' bytes; RequestError when one can no longer be read."""
        try:
            return [content_digest(source.place) for source in self.sources]
        except ItemError as error:
            raise RequestError(f"videos: {error}") from error


def find_videos(
    folder: Path, protocol: Protocol, settings: EvaluationSettings, exact_number: bool
) -> VideoFolder:
    """Finds the videos directly in a folder, as many as `settings.num_videos`; of more, those that its seed draws.

    Fewer are enough only where the protocol takes any number and `exact_number` is not asked for. Captions are read as
    a reference folder's: a manifest, or a .txt beside each file. Raises RequestError, one line, when there are too few
    videos, when some are too short, unreadable or unlike the rest, or when captions and files do not fit.
    """
    if not folder.is_dir():
        raise RequestError(f"videos: {folder} is no folder")
    corpus = Corpus(
        name="videos", kind="short-videos", format="folder", path=folder.absolute(), licence="unknown"
    )
    listed = list(read_sources(corpus, captions_needed=False))
    found = [source for source in listed if "/" not in source.uri and not is_missing(source.problem)]
    if not found:
        raise RequestError(
            f"videos: {folder} has no video (mp4, webm, avi, mkv or gif) directly in it; folders below it are not read"
        )
    captioned = _check_captions(folder, listed, found)
    taken = _draw(folder, found, protocol, settings, exact_number)
    header = _common_header(folder, taken, protocol)
    captions = [_caption(source, protocol.num_frames / header.fps) for source in taken] if captioned else None
    return VideoFolder(folder, taken, captions, header, len(found))


def _check_captions(folder: Path, listed: Sequence[SourceRecord], found: Sequence[SourceRecord]) -> bool:
    """Returns whether the videos have captions: all of them or none."""
    strays = sorted({source.uri for source in listed if source.captions} - {source.uri for source in found})
    if strays:
        raise RequestError(
            f"videos: captions name {len(strays)} files that are not directly in {folder}: {_some(strays)}"
        )
    without = [source.uri for source in found if not source.captions and source.problem in (None, NO_CAPTION)]
    if without and any(source.captions for source in found):
        raise RequestError(
            f"videos: {len(without)} of {len(found)} videos in {folder} have no caption: {_some(without)}; "
            "caption all of them or none"
        )
    return not without


def _draw(
    folder: Path,
    found: Sequence[SourceRecord],
    protocol: Protocol,
    settings: EvaluationSettings,
    exact_number: bool,
) -> list[SourceRecord]:
    asked = settings.num_videos
    if len(found) < asked and (exact_number or not protocol.any_number or len(found) < 2):
        who = "num_videos asks" if exact_number else f"the protocol {protocol.name} asks"
        least = "2 at least" if protocol.any_number else str(asked)
        wanted = str(asked) if exact_number else least
        raise RequestError(
            f"videos: {folder} has {len(found)} videos, {who} for {wanted}; none is counted twice to fill up"
        )
    # The first names of a folder are often those of its first classes.
    order = np.random.default_rng(settings.seed).permutation(len(found))[:asked]
    return [found[index] for index in sorted(order)]


def _common_header(folder: Path, sources: Sequence[SourceRecord], protocol: Protocol) -> Header:
    """Returns the header that all videos share; RequestError, naming the odd ones, when they do not."""
    headers: dict[str, Header] = {}
    unreadable = []
    for source in sources:
        try:
            headers[source.uri] = read_header(source)
        except ItemError as error:
            unreadable.append(str(error))
    if unreadable:
        raise unreadable_videos(folder, unreadable, len(sources))
    short = [f"{n} ({h.num_frames} frames)" for n, h in headers.items() if h.num_frames < protocol.num_frames]
    if short:
        raise RequestError(
            f"videos: {len(short)} of {len(sources)} videos in {folder} are too short: {_some(short)}; the protocol "
            f"{protocol.name} reads {protocol.num_frames} frames of each"
        )
    _check_even(folder, headers)
    _check_alike(folder, headers, "frames", lambda header: str(header.num_frames))
    _check_alike(folder, headers, "pixels", lambda header: f"{header.width}x{header.height}")
    usual = round(median(header.fps for header in headers.values()), 3)
    _check_alike(
        folder, headers, "fps", lambda header: f"{usual if _near(header.fps, usual) else header.fps:.4g}"
    )
    first = next(iter(headers.values()))
    return Header(first.num_frames, usual, first.width, first.height)


def read_header(source: SourceRecord) -> Header:
    """Frames are counted and rates told from the packets' times, those of telecined videos from their film.

    ItemError when it cannot be read or shows nothing.
    """
    if source.problem not in (None, NO_CAPTION):
        raise ItemError(f"{source.uri}: {source.problem}", stage="read")
    with open_media(source.place) as media:
        scan = scan_of(media)
        info, times_s = probe(media), frame_times(media, scan)
        # Only a decoded frame tells how it is turned.
        size = next((upright_size(decoded) for decoded in iter_decoded(media, scan=scan)), None)
    if size is None or not times_s:
        raise ItemError(f"{source.uri}: shows no frame", stage="decode")
    fps = info.fps
    if times_s[-1] > times_s[0]:
        shown_fps = (len(times_s) - 1) / (times_s[-1] - times_s[0])
        # Headers of GIF files give a guess. How long the last frame stays, often a pause before a loop, says nothing.
        fps = fps if _near(fps, shown_fps) else shown_fps
    even = len(times_s) < 2 or is_even(times_s, info.time_unit_s)
    return Header(len(times_s), fps, *size, None if even else float(np.diff(times_s).max()))


def is_even(times_s: Sequence[float], time_unit_s: float) -> bool:
    """Returns whether two or more ascending times are of one rate, but for rounding to the unit and a little jitter."""
    places_s = np.linspace(times_s[0], times_s[-1], len(times_s))
    step_s = float(places_s[1] - places_s[0])
    off_s = float(np.abs(np.asarray(times_s) - places_s).max())
    # The ends of the grid and the times between are rounded by half a unit each. A unit of a step, as AVI's, needs no
    # rounding, and half a step would hide a frame that is missing.
    rounded_s = time_unit_s if time_unit_s < step_s / 2 else 0.0
    return step_s > 0 and off_s <= max(_OFF_BEAT * step_s, rounded_s) + 1e-9


def unreadable_videos(folder: Path, problems: Sequence[str], total: int) -> RequestError:
    """Returns the error that names videos which cannot be read."""
    return RequestError(
        f"videos: {len(problems)} of {total} videos in {folder} cannot be used: {_some(problems, '; ')}"
    )


def _check_even(folder: Path, headers: dict[str, Header]) -> None:
    """Raises RequestError for frames that stand unequally long: the real clips are taken at one rate."""
    uneven = [
        f"{name} (a frame of {header.longest_s:.3g} s, on average {1 / header.fps:.3g} s)"
        for name, header in headers.items()
        if header.longest_s is not None
    ]
    if uneven:
        raise RequestError(
            f"videos: {len(uneven)} of {len(headers)} videos in {folder} have no one frame rate: {_some(uneven)}; "
            "write them anew with frames of equal length, or leave them out"
        )


def _check_alike(folder: Path, headers: dict[str, Header], unit: str, value: Callable[[Header], str]) -> None:
    values = {name: value(header) for name, header in headers.items()}
    (usual, count), *others = Counter(values.values()).most_common()
    if others:
        odd = [f"{name} ({found})" for name, found in values.items() if found != usual]
        raise RequestError(
            f"videos: {folder} mixes videos: {count} of {len(values)} have {usual} {unit}, not {_some(odd)}; "
            "score those that are alike"
        )


def _caption(source: SourceRecord, clip_s: float) -> str:
    """Returns the caption of the clip that counts, as a reference clip's is chosen."""
    return (captions_for_span(source.captions, 0.0, clip_s) or source.captions)[0].text


def _near(fps: float, other_fps: float) -> bool:
    return abs(fps - other_fps) <= SAME_FPS * other_fps


def _some(names: Sequence[str], separator: str = ", ") -> str:
    more = len(names) - _NAMED
    return separator.join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
