"""Of several video streams the film is read: never a cover, else the default, else the largest."""

from pathlib import Path

import av
import numpy as np
import pytest

from tasks.clips.from_params import frames_from_params
from tasks.clips.reading import frame_times, probe
from tasks.clips.video_io import encode
from tasks.tiny.world.drawing import Scene, draw_clip
from tests.field_media import VIDEO_KINDS, add_film, clips_in, mux

RED, GREEN, BLUE = (220, 20, 20), (20, 200, 20), (20, 20, 220)
Stream = tuple[str, tuple[int, int], tuple[int, int, int], int, bool | None]


def _write(path: Path, streams: list[Stream]) -> None:
    """Streams of (codec, size, colour, frames, whether it is the default: None as the muxer has it)."""
    with av.open(str(path), "w") as container:
        made = []
        for codec, size, _, _, default in streams:
            stream = add_film(container, codec, size, "yuvj420p" if codec == "mjpeg" else "yuv420p")
            if default is not None:
                flags = av.stream.Disposition
                stream.disposition = flags.default if default else flags(0)
            made.append(stream)
        for stream, (_, (width, height), colour, count, _) in zip(made, streams, strict=True):
            mux(container, stream, np.full((count, height, width, 3), colour, np.uint8))


FILES: dict[str, tuple[list[Stream], tuple[int, int, int]]] = {
    "cover-first.mkv": (
        [("mjpeg", (300, 300), RED, 1, False), ("libx264", (96, 64), GREEN, 24, True)],
        GREEN,
    ),
    "cover-first-and-default.mkv": (
        [("mjpeg", (300, 300), RED, 1, True), ("libx264", (96, 64), GREEN, 24, False)],
        GREEN,
    ),
    "cover-first.mp4": (
        [("mjpeg", (300, 300), RED, 1, None), ("libx264", (96, 64), GREEN, 24, None)],
        GREEN,
    ),
    "preview-first.mp4": (
        [("libx264", (64, 48), RED, 24, False), ("libx264", (96, 64), GREEN, 24, True)],
        GREEN,
    ),
    "default-is-smaller.mkv": (
        [("libx264", (192, 128), RED, 24, False), ("libx264", (96, 64), GREEN, 24, True)],
        GREEN,
    ),
    "largest.ts": (
        [("libx264", (64, 48), RED, 24, None), ("libx264", (96, 64), GREEN, 24, None)],
        GREEN,
    ),
    "all-default.mkv": (
        [
            ("libx264", (64, 48), RED, 24, True),
            ("libx264", (96, 64), GREEN, 24, True),
            ("libx264", (64, 64), BLUE, 24, True),
        ],
        GREEN,
    ),
    "first-of-equals.mkv": (
        [("libx264", (96, 64), GREEN, 24, False), ("libx264", (96, 64), BLUE, 24, False)],
        GREEN,
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_the_film_is_read(tmp_path: Path, name: str) -> None:
    streams, colour = FILES[name]
    path = tmp_path / name
    _write(path, streams)
    info = probe(path)
    assert (info.width, info.height) == next(size for _, size, shown, _, _ in streams if shown == colour)
    assert len(frame_times(path)) == 24
    for kind in VIDEO_KINDS:
        (clip,) = clips_in(path, kind)
        assert np.abs(clip.frames_nhwc.astype(int) - colour).max() < 12
        assert np.array_equal(frames_from_params(str(path), clip.params_json), clip.frames_nhwc)
        with path.open("rb") as file:  # as a member of a tar comes
            assert np.array_equal(frames_from_params(file, clip.params_json), clip.frames_nhwc)


@pytest.mark.parametrize("name", ["coverfirst.mkv", "previewfirst.mp4"])
@pytest.mark.parametrize("kind", VIDEO_KINDS)
def test_streams_from_the_field(shared_dir: Path, name: str, kind: str) -> None:
    for clip in clips_in(shared_dir / "media/field/streams" / name, kind):
        assert (clip.source_width, clip.source_height) == (320, 180)
        red, green, blue = clip.frames_nhwc.astype(int).reshape(-1, 3).T
        assert (red > green + blue).mean() < 0.5  # never the red picture


def test_a_broadcast_may_get_further_streams_on_its_way(tmp_path: Path) -> None:
    """PyAV fails at the end of a file with streams that its beginning does not name."""
    frames_nhwc = draw_clip(Scene("orange", "triangle", "left"), np.random.default_rng(5), 48)
    encode(tmp_path / "alone.ts", frames_nhwc, 8.0, "libx264", "yuv420p", "mpegts", options={"g": "8"})
    with (
        av.open(str(tmp_path / "alone.ts")) as film,
        av.open(str(tmp_path / "both.ts"), "w", "mpegts") as both,
    ):
        copies = [both.add_stream_from_template(film.streams.video[0]) for _ in range(6)]
        for packet in film.demux(video=0):
            if packet.dts is not None:
                for copy in copies:
                    packet.stream = copy
                    both.mux_one(packet)
    # libav looks for streams in the first five megabytes, and at the end of the file.
    alone, both_at_once = (tmp_path / "alone.ts").read_bytes(), (tmp_path / "both.ts").read_bytes()
    (tmp_path / "recording.ts").write_bytes(alone * 200 + both_at_once + alone * 100)
    assert len(frame_times(tmp_path / "recording.ts")) == 301 * len(frames_nhwc)


@pytest.mark.parametrize(
    ("name", "films"), [("cover-first.mkv", 1), ("preview-first.mp4", 2), ("all-default.mkv", 3)]
)
def test_streams_that_could_be_the_film_are_counted(tmp_path: Path, name: str, films: int) -> None:
    _write(tmp_path / name, FILES[name][0])
    assert probe(tmp_path / name).films == films
    (clip,) = clips_in(tmp_path / name, "short-videos")
    assert clip.source_films == films
