"""Which of a file's video streams is the film: none that is one picture, among the rest the default, the largest."""

from __future__ import annotations

from collections.abc import Iterator

from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream

NO_FILM = (
    Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image | Disposition.dependent
)
PACKETS_LOOKED_AT = 2000  # of a file with several streams, to tell films from single pictures


def films_of(container: InputContainer) -> list[VideoStream]:
    """Gives the streams that may be the film, the chosen one first; all video streams where none is clearly a film.

    Where there are several, packets are read to find those of one picture: open the container again to decode it.
    """
    streams = list(container.streams.video)
    if len(streams) < 2:
        return streams
    films = [stream for stream in streams if stream.codec_context and not stream.disposition & NO_FILM]
    films = films or streams
    if len(films) > 1:
        films = _moving(container, films) or films
    return sorted(films, key=_rank)


def _moving(container: InputContainer, streams: list[VideoStream]) -> list[VideoStream]:
    """Those that have more than one picture; covers come as streams without any mark, too."""
    packets = {stream.index: 0 for stream in streams}
    for looked_at, packet in enumerate(packets_of(container, *streams)):
        packets[packet.stream.index] += packet.size > 0
        if looked_at >= PACKETS_LOOKED_AT or min(packets.values()) > 1:
            break
    return [stream for stream in streams if packets[stream.index] > 1]


def _rank(stream: VideoStream) -> tuple[bool, int, int]:
    context = stream.codec_context
    pixels = context.width * context.height if context else 0
    return not stream.disposition & Disposition.default, -pixels, stream.index


def packets_of(container: InputContainer, *streams: VideoStream) -> Iterator[Packet]:
    """Yields the packets of streams.

    A recording of a broadcast may get further streams on its way: PyAV, which knows those of its beginning, asks for
    them at its end, when all packets of the others have been given.
    """
    packets = container.demux(*streams)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, IndexError):
            return
        yield packet
