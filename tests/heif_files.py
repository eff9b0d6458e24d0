"""HEIC files for tests, written box by box around a picture that libav codes: no encoder of them is installed."""

from __future__ import annotations

import io
import struct
from typing import Any

import av
import numpy as np

# With its notes in the stream, or its parameters beside it, the muxer at times finds none of them.
X265 = "log-level=none:info=0:pools=none:frame-threads=1:repeat-headers=1"


def heic(picture_hwc: np.ndarray, turns: int = 0, codes: tuple[int, int] | None = None) -> bytes:
    """An HEIC of an RGB picture (h, w, 3) of even sides, to be shown turned so many quarters to the left.

    codes: the code points of its primaries and its curve (ITU-T H.273).
    """
    height, width = picture_hwc.shape[:2]
    configuration, data = _coded(picture_hwc)
    size = _box(b"ispe", struct.pack(">III", 0, width, height))
    turn = _box(b"irot", bytes([turns]))
    colour = b"" if codes is None else _box(b"colr", b"nclx" + struct.pack(">HHHB", *codes, 6, 0))
    properties = _box(b"ipco", _box(b"hvcC", configuration) + size + turn + colour)
    places = bytes([0x81, 0x02, 0x83, *([0x04] if colour else [])])
    associations = _box(b"ipma", struct.pack(">IIHB", 0, 1, 1, len(places)) + places)
    handler = _box(b"hdlr", bytes(8) + b"pict" + bytes(13))
    primary = _box(b"pitm", struct.pack(">IH", 0, 1))
    entry = _box(b"infe", struct.pack(">IHH", 2 << 24, 1, 0) + b"hvc1" + b"\0")
    items = _box(b"iinf", struct.pack(">IH", 0, 1) + entry)

    def meta(offset: int) -> bytes:
        location = struct.pack(">IBBHHHHII", 0, 0x44, 0, 1, 1, 0, 1, offset, len(data))
        parts = handler + primary + _box(b"iloc", location) + items + _box(b"iprp", properties + associations)
        return _box(b"meta", bytes(4) + parts)

    start = _box(b"ftyp", b"heic" + bytes(4) + b"mif1heic")
    return start + meta(len(start) + len(meta(0)) + 8) + _box(b"mdat", data)


def _coded(picture_hwc: np.ndarray) -> tuple[bytes, bytes]:
    """The configuration record and the one picture of an HEVC stream."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream: Any = container.add_stream("libx265", rate=1, options={"crf": "8", "x265-params": X265})
        stream.height, stream.width = picture_hwc.shape[:2]
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(picture_hwc, format="rgb24")
        for packet in [*stream.encode(frame), *stream.encode()]:
            packet.pts = packet.dts = 0  # of a single picture the encoder leaves them to chance
            container.mux(packet)
    buffer.seek(0)
    with av.open(buffer) as container:
        video = container.streams.video[0]
        return bytes(video.codec_context.extradata), bytes(next(iter(container.demux(video))))


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + kind + body
