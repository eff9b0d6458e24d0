"""Finds a keyframe from which decoding gives the very frames that decoding from the start gives."""

from __future__ import annotations

from typing import NamedTuple

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

# Containers whose index knows the times of keyframes. AVI knows the order of decoding alone, and damage in its index
# goes unseen.
INDEXED = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}
# Codecs whose keyframes forget all that came before; those of H.264 and HEVC may not, the packet says.
FORGETFUL = {"mpeg4", "vp8", "vp9"}


class NalLayout(NamedTuple):
    """Where a codec keeps the size of its units' lengths and their kind, which kinds are pictures, which resets."""

    length_byte: int
    shift: int
    mask: int
    slices: range
    resets: frozenset[int]


NAL_LAYOUTS = {
    "h264": NalLayout(4, 0, 31, range(1, 6), frozenset({5})),
    "hevc": NalLayout(21, 1, 63, range(0, 32), frozenset({19, 20})),
}


def seek_to_keyframe(container: InputContainer, stream: VideoStream, from_s: float) -> int | None:
    """Leaves the container at the last keyframe at or before a time and returns its stamp; None where unsafe.

    After None the container's position is undefined: open it again.
    """
    if stream.time_base is None or container.format.name not in INDEXED:
        return None
    wanted = int(from_s / stream.time_base)
    if wanted <= (stream.start_time or 0):
        return None
    try:
        container.seek(wanted, stream=stream)
        packet = next(iter(container.demux(stream)))
        stamp = packet.pts
        if stamp is None or stamp > wanted or not packet.is_keyframe or not _forgets(stream, packet):
            return None
        container.seek(stamp, stream=stream)
    except av.FFmpegError:
        return None  # a broken index; the frames may be whole all the same
    return stamp


def _forgets(stream: VideoStream, packet: Packet) -> bool:
    context = stream.codec_context
    if context.name in FORGETFUL:
        return True
    layout = NAL_LAYOUTS.get(context.name)
    # Both containers store units behind their lengths; a header of another kind is not worth the risk.
    if layout is None or not context.extradata or len(context.extradata) <= layout.length_byte:
        return False
    data, position = bytes(packet), 0
    length_bytes = (context.extradata[layout.length_byte] & 3) + 1
    while position + length_bytes < len(data):
        kind = data[position + length_bytes] >> layout.shift & layout.mask
        if kind in layout.slices:
            return kind in layout.resets
        position += length_bytes + int.from_bytes(data[position : position + length_bytes], "big")
    return False
