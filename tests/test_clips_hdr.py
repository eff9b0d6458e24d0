"""HDR video is tone-mapped: greys, whites and colours of known light come out as ordinary video shows them."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from tasks.clips.from_params import frames_from_params
from tasks.clips.reading import iter_decoded
from tasks.clips.resizing import Resizer
from tasks.errors import ItemError
from tests.field_media import VIDEO_KINDS, clips_in

SIDE = 64
RGB_2020_FROM_709 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])


def _pq(nits: np.ndarray) -> np.ndarray:
    powers = (nits / 10_000) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * powers) / (1 + 2392 / 128 * powers)) ** (2523 / 32)


def _hlg(nits: np.ndarray) -> np.ndarray:
    """The signal at which a display of 1000 nits shows this light."""
    display = nits / 1000
    luminance = display @ [0.2627, 0.6780, 0.0593]
    scene = display * luminance ** (1 / 1.2 - 1) if luminance > 0 else display
    bright = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright)


TRANSFERS = {"pq": (ColorTrc.SMPTE2084, _pq), "hlg": (ColorTrc.ARIB_STD_B67, _hlg)}


def _film(path: Path, transfer: str, nits_709: np.ndarray, full_range: bool = False) -> None:
    """Two seconds of one colour, given as the light of BT.709's red, green and blue."""
    trc, signal_of = TRANSFERS[transfer]
    red, green, blue = signal_of(RGB_2020_FROM_709 @ nits_709).tolist()
    luma = 0.2627 * red + 0.6780 * green + 0.0593 * blue
    chroma = (blue - luma) / (2 * (1 - 0.0593)), (red - luma) / (2 * (1 - 0.2627))
    if full_range:
        codes = [luma * 1023, *(part * 1023 + 512 for part in chroma)]
    else:
        codes = [64 + 876 * luma, *(512 + 896 * part for part in chroma)]
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=8, options={"crf": "1"})
        stream.width = stream.height = SIDE
        stream.pix_fmt, context = "yuv420p10le", stream.codec_context
        context.color_trc, context.colorspace, context.color_primaries = (
            trc,
            Colorspace.BT2020,
            ColorPrimaries.BT2020,
        )
        context.color_range = ColorRange.JPEG if full_range else ColorRange.MPEG
        for index in range(16):
            frame = av.VideoFrame(SIDE, SIDE, "yuv420p10le")
            frame.color_range = context.color_range
            for plane, code in zip(frame.planes, codes, strict=True):
                plane.update(np.full(plane.buffer_size // 2, round(code), "<u2").tobytes())
            frame.pts, frame.time_base = index, Fraction(1, 8)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _shown(path: Path) -> np.ndarray:
    return Resizer(path.name, SIDE, SIDE).upright(next(iter_decoded(path)))[SIDE // 2, SIDE // 2].astype(int)


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("transfer", TRANSFERS)
def test_light_is_shown_as_ordinary_video_shows_it(tmp_path: Path, transfer: str, full_range: bool) -> None:
    """A grey of a part of diffuse white (203 nits) is that part under a display's gamma; only highlights are bent."""
    path = tmp_path / "film.mp4"
    for nits in (0.0, 5.0, 20.0, 50.0, 100.0):
        _film(path, transfer, np.full(3, nits), full_range)
        assert np.abs(_shown(path) - 255 * (nits / 203) ** (1 / 2.4)).max() <= 5, nits
    brights = []
    for nits in (203.0, 500.0, 1000.0):
        _film(path, transfer, np.full(3, nits), full_range)
        brights.append(_shown(path).mean())
    assert 220 < brights[0] < brights[1] < brights[2] and brights[2] >= 252


@pytest.mark.parametrize("transfer", TRANSFERS)
@pytest.mark.parametrize("colour", [(80, 4, 4), (4, 80, 4), (4, 4, 80), (90, 60, 40)])
def test_colours_are_not_washed_out(
    tmp_path: Path, transfer: str, colour: tuple[float, float, float]
) -> None:
    path = tmp_path / "film.mp4"
    _film(path, transfer, np.array(colour, float))
    assert np.abs(_shown(path) - 255 * (np.array(colour) / 203) ** (1 / 2.4)).max() <= 8


@pytest.mark.parametrize("kind", VIDEO_KINDS)
def test_clips_are_tone_mapped_and_made_again(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "film.mp4"
    _film(path, "pq", np.array([80.0, 4.0, 4.0]))
    (clip,) = clips_in(path, kind)
    assert np.abs(clip.frames_nhwc.astype(int) - 255 * (np.array([80, 4, 4]) / 203) ** (1 / 2.4)).max() <= 8
    assert np.array_equal(frames_from_params(str(path), clip.params_json), clip.frames_nhwc)


DOLBY_VISION_NOTE = b"\0\0\0\1" + bytes([62 << 1, 1, 0x19]) + bytes([7] * 60) + b"\x80"


def _with_dolby_vision(path: Path, transfer: ColorTrc | None = None) -> None:
    """HEVC with a unit of Dolby Vision's behind every picture, and other colours to fall back on, or none."""
    x265 = "log-level=none:info=0:pools=none:frame-threads=1:repeat-headers=1:bframes=0"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx265", rate=8, options={"crf": "8", "x265-params": x265})
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p10le"
        if transfer is not None:
            stream.codec_context.color_trc, stream.codec_context.colorspace = transfer, Colorspace.BT2020
        packets = []
        for index in range(16):
            frame = av.VideoFrame.from_ndarray(np.full((SIDE, SIDE, 3), 150, np.uint8), format="rgb24")
            frame = frame.reformat(format="yuv420p10le")
            frame.pts, frame.time_base = index, Fraction(1, 8)
            packets += stream.encode(frame)
        for packet in [*packets, *stream.encode()]:
            noted = av.Packet(bytes(packet) + DOLBY_VISION_NOTE)
            noted.pts, noted.dts, noted.time_base = packet.pts, packet.dts, packet.time_base
            noted.stream, noted.is_keyframe = stream, packet.is_keyframe
            container.mux(noted)


@pytest.mark.parametrize("name", ["film.ts", "film.mkv", "film.mp4"])
def test_dolby_vision_without_other_colours_is_named(tmp_path: Path, name: str) -> None:
    _with_dolby_vision(tmp_path / name)
    for kind in VIDEO_KINDS:
        with pytest.raises(
            ItemError, match=rf"^{name}: is Dolby Vision of profile 5, whose colours are not read"
        ):
            clips_in(tmp_path / name, kind)
    _with_dolby_vision(tmp_path / name, ColorTrc.SMPTE2084)  # profile 8: HDR10 for who knows no Dolby Vision
    assert len(clips_in(tmp_path / name, "short-videos")) == 1
