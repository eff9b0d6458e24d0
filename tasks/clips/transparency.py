"""Videos with transparency: decoders that give it, and its frames over white, as images are shown."""

from __future__ import annotations

from typing import cast

import numpy as np
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream

# The decoders that libav chooses drop the second picture in which these codecs hold it.
_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
_OPAQUE, _WHITE = 255, 255
BICUBIC = Interpolation.BICUBIC | Interpolation.ACCURATE_RND


def transparent_decoder(stream: VideoStream) -> VideoCodecContext | None:
    """Gives a decoder that keeps a stream's transparency, not opened yet; None where the stream's own does."""
    name = _DECODERS.get(stream.codec_context.name)
    if name is None or stream.metadata.get("alpha_mode", stream.metadata.get("ALPHA_MODE")) != "1":
        return None
    decoder = cast(VideoCodecContext, CodecContext.create(name, "r"))
    decoder.extradata = stream.codec_context.extradata
    return decoder


def over_white(frame: VideoFrame) -> VideoFrame:
    """Gives a frame with what is transparent over white; the frame itself where all of it is opaque.

    Raises what libav raises when it cannot be converted.
    """
    if not _may_be_transparent(frame):
        return frame
    planes = frame.reformat(format="gbrap", interpolation=BICUBIC, threads=1)
    green, blue, red, alpha = (_samples(plane) for plane in planes.planes)
    if alpha.min() == _OPAQUE:
        return frame
    shown = np.stack((red, green, blue), axis=-1).astype(np.uint16) * alpha[..., None]
    shown += _WHITE * (_OPAQUE - alpha.astype(np.uint16))[..., None] + _OPAQUE // 2
    return VideoFrame.from_ndarray((shown // _OPAQUE).astype(np.uint8), format="rgb24")


def _may_be_transparent(frame: VideoFrame) -> bool:
    return frame.format.name == "pal8" or any(part.is_alpha for part in frame.format.components)


def _samples(plane: VideoPlane) -> np.ndarray:
    return np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[
        : plane.height, : plane.width
    ]
