"""Interlaced and telecined videos: no comb teeth in any clip, whatever the flags say, and clips are made again."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tasks.clips.from_params import frames_from_params
from tasks.clips.interlacing import scan_of
from tasks.clips.reading import iter_decoded
from tasks.clips.resizing import Resizer
from tasks.clips.video_io import encode
from tasks.evaluation.measure_files import decoded_frames
from tasks.evaluation.reference_clip import cut_reference_clip
from tasks.evaluation.video_folder import read_header
from tasks.tiny.world.drawing import draw_clip, random_scene
from tests.field_media import VIDEO_KINDS, clips_in, source_of

WIDTH, HEIGHT, FPS = 160, 96, 25


def _instants(count: int) -> np.ndarray:
    """A textured ground on which a bright block moves 4 pixels an instant, and back; uint8 (n, h, w, 3)."""
    ground = np.random.default_rng(0).integers(60, 90, (HEIGHT // 8, WIDTH // 8, 3), np.uint8)
    frames = np.repeat(
        np.repeat(np.broadcast_to(ground, (count, *ground.shape)), 8, axis=1), 8, axis=2
    ).copy()
    for index, frame in enumerate(frames):
        left = abs((4 * index) % 240 - 120)
        frame[24:72, left : left + 40] = (235, 225, 40)
    return frames


def _woven(instants: np.ndarray, order: str) -> np.ndarray:
    first, second = instants[0::2].copy(), instants[1::2]
    later = 1 if order == "tff" else 0
    first[:, later::2] = second[:, later::2]
    return first


def _telecined(film: np.ndarray) -> np.ndarray:
    """3:2 pulldown: of four pictures five frames, two of them of fields of neighbours."""
    frames = []
    for a, b, c, d in film[: len(film) // 4 * 4].reshape(-1, 4, HEIGHT, WIDTH, 3):
        mixed = [b.copy(), c.copy()]
        mixed[0][1::2], mixed[1][1::2] = c[1::2], d[1::2]
        frames += [a, b, *mixed, d]
    return np.stack(frames)


def _write(
    path: Path, frames: np.ndarray, codec: str, flags: str, container_format: str | None = None
) -> None:
    """Encodes frames whose first time stamp lies above zero, flagged as interlaced or not."""
    options = {"qscale": "3", "g": "12"} if codec == "mpeg2video" else {"crf": "12", "g": "12", "bf": "2"}
    if flags and codec == "mpeg2video":
        options |= {"flags": "+ildct+ilme"}
    elif flags:
        options |= {"x264-params": f"{flags}=1"}
    with av.open(str(path), "w", format=container_format) as container:
        stream: Any = container.add_stream(codec, rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.thread_count = 1
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = index + 13, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _teeth(frame: np.ndarray) -> float:
    """The share of pixels that differ from the lines above and below, which are alike."""
    luma = frame.astype(int).mean(axis=2)
    away = np.minimum(np.abs(luma[1:-1] - luma[:-2]), np.abs(luma[1:-1] - luma[2:]))
    return float(((away > 30) & (np.abs(luma[2:] - luma[:-2]) < 15)).mean())


FILES = {
    "flagged.mpg": ("mpeg2video", "tff", "tff", "mpeg"),
    "flagged-tff.mp4": ("libx264", "tff", "tff", None),
    "flagged-bff.mp4": ("libx264", "bff", "bff", None),
    "unflagged-tff.mp4": ("libx264", "", "tff", None),
    "unflagged-bff.mkv": ("libx264", "", "bff", None),
    "flag-lies.mp4": ("libx264", "tff", "bff", None),
    "unflagged.ts": ("libx264", "", "tff", "mpegts"),
}


@pytest.fixture(params=FILES)
def interlaced(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    codec, flags, order, container_format = FILES[request.param]
    _write(tmp_path / request.param, _woven(_instants(160), order), codec, flags, container_format)
    return tmp_path / request.param, order


def test_no_tooth_reaches_the_evaluation_of_finished_videos(interlaced: tuple[Path, str]) -> None:
    source = source_of(interlaced[0], "short-videos")
    header = read_header(source)
    assert header.num_frames == 80
    frames = decoded_frames(source, header)
    assert len(frames) == 80 and max(_teeth(frame) for frame in frames[1:-1]) < 0.003


def test_no_tooth_reaches_a_clip_and_clips_are_made_again(interlaced: tuple[Path, str]) -> None:
    path, order = interlaced
    assert scan_of(path) == order
    coded = [Resizer(path.name).upright(decoded) for decoded in iter_decoded(path)]
    assert max(_teeth(frame) for frame in coded) > 0.02
    for kind in VIDEO_KINDS:
        clips = clips_in(path, kind, width=WIDTH, height=HEIGHT, clips_per_source=3)
        assert len(clips) == 3
        for clip in clips:
            assert max(_teeth(frame) for frame in clip.frames_nhwc) < 0.003
            assert clip.interlaced == 1.0
            assert np.array_equal(frames_from_params(str(path), clip.params_json), clip.frames_nhwc)


def test_the_right_field_is_shown_first(interlaced: tuple[Path, str]) -> None:
    """A frame made whole is the instant of its first field; of the wrong order blocks would jump to and fro."""
    path, _ = interlaced
    instants = _instants(160)
    shown = [Resizer(path.name).upright(decoded) for decoded in iter_decoded(path, scan=scan_of(path))]
    assert len(shown) == 80
    for index, frame in enumerate(shown[2:-2], start=2):
        errors = [np.abs(frame.astype(int) - instants[2 * index + late]).mean() for late in (0, 1)]
        assert min(errors) < 9 and errors[0] <= errors[1] + 0.5, (index, errors)


def test_frames_after_a_seek_are_those_from_the_start(interlaced: tuple[Path, str]) -> None:
    path, _ = interlaced
    scan = scan_of(path)
    linear = [(d.time_s, Resizer(path.name).upright(d)) for d in iter_decoded(path, scan=scan)]
    for start_s in (0.6, 1.2, 2.0, 2.9):
        sought = [(d.time_s, Resizer(path.name).upright(d)) for d in iter_decoded(path, start_s, scan)]
        assert sought[0][0] <= max(start_s, linear[0][0])
        for (time_s, frame), (linear_s, linear_frame) in zip(sought, linear[-len(sought) :], strict=True):
            assert time_s == linear_s and np.array_equal(frame, linear_frame), start_s


@pytest.mark.parametrize("fps", [None, 8.0])
def test_real_videos_are_scored_without_teeth(tmp_path: Path, fps: float | None) -> None:
    _write(tmp_path / "film.mp4", _woven(_instants(120), "tff"), "libx264", "tff")
    clip = cut_reference_clip(
        source_of(tmp_path / "film.mp4", "short-videos"), 8, fps, WIDTH, HEIGHT, "middle", 0
    )
    assert max(_teeth(frame) for frame in clip.frames_nhwc) < 0.003


@pytest.mark.parametrize("flags", ["", "tff"])
@pytest.mark.parametrize("kind", VIDEO_KINDS)
def test_telecined_film_is_film_again(tmp_path: Path, kind: str, flags: str) -> None:
    path = tmp_path / "film.mp4"
    film = _instants(120)[::2]
    _write(path, _telecined(np.concatenate([film, film])), "libx264", flags)
    assert scan_of(path) == "tff-telecine"
    frames = list(iter_decoded(path, scan="tff-telecine"))
    assert abs(len(frames) - 120) <= 2
    times_s = [decoded.time_s for decoded in frames]
    assert np.all(np.diff(times_s) > 0) and times_s[0] == pytest.approx(13 / FPS, abs=0.09)
    for clip in clips_in(path, kind, width=WIDTH, height=HEIGHT, clips_per_source=2):
        assert max(_teeth(frame) for frame in clip.frames_nhwc) < 0.003
        assert clip.interlaced == pytest.approx(0.4)
        assert np.array_equal(frames_from_params(str(path), clip.params_json), clip.frames_nhwc)


def test_film_that_is_only_flagged_is_left_as_it_is(tmp_path: Path) -> None:
    """Both fields of a frame are of one instant: nothing is combed, and not a bit may change."""
    _write(tmp_path / "film.mp4", _instants(60), "libx264", "tff")
    assert scan_of(tmp_path / "film.mp4") is None
    for clip in clips_in(tmp_path / "film.mp4", "short-videos"):
        assert clip.interlaced == 0.0 and "scan" not in clip.params_json


def test_a_flagged_still_is_deinterlaced_by_its_flags(tmp_path: Path) -> None:
    _write(tmp_path / "film.mp4", np.repeat(_instants(1), 50, axis=0), "libx264", "tff")
    assert scan_of(tmp_path / "film.mp4") == "auto"


def test_drawn_films_are_progressive(tmp_path: Path) -> None:
    """Hard edges that move by whole lines look like one field's at times."""
    rng = np.random.default_rng(7)
    for number in range(24):
        path = tmp_path / f"{number}.mp4"
        encode(path, draw_clip(random_scene(rng), rng, 24), 8.0)
        assert scan_of(path) is None


@pytest.mark.parametrize(
    "name",
    [
        "videos/bikes.mp4",
        "videos/bigbuckbunny.mp4",
        "videos/carphone_pristine.mp4",
        "videos/decord_flipping_a_pancake.mkv",
        "videos/torchcodec_nasa_13013.mp4",
        "field/mirrored/hflip.mp4",
    ],
)
def test_real_progressive_videos_are_progressive(shared_dir: Path, name: str) -> None:
    assert scan_of(shared_dir / "media" / name) is None


@pytest.mark.parametrize("kind", VIDEO_KINDS)
def test_an_interlaced_video_from_the_field(shared_dir: Path, kind: str) -> None:
    path = shared_dir / "media/field/interlaced/inter.mpg"
    for clip in clips_in(path, kind, width=320, height=240, clips_per_source=2):
        assert max(_teeth(frame) for frame in clip.frames_nhwc) < 0.001
        assert np.array_equal(frames_from_params(str(path), clip.params_json), clip.frames_nhwc)
