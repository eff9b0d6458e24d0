"""Parameters make clips again, bit for bit: of images, short videos and shots, from wherever decoding starts."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tasks.clips.clip import Clip
from tasks.clips.from_params import frames_from_params
from tasks.clips.from_source import clips_of
from tasks.clips.keyframes import seek_to_keyframe
from tasks.clips.reading import iter_decoded, open_video
from tasks.clips.resizing import Resizer
from tasks.clips.settings import ClipSettings
from tasks.clips.video_io import encode
from tasks.corpora.records import CaptionSpan, MediaPlace, SourceRecord, source_id
from tasks.tiny.world.drawing import Scene, draw_clip, draw_image, random_scene

# Codec, container, options, and whether decoding may start at a keyframe: None where the encoder decides.
FILMS: dict[str, tuple[str, str, dict[str, str], bool | None]] = {
    "closed.mp4": ("libx264", "mp4", {"bf": "2"}, True),
    "open-gop.mp4": ("libx264", "mp4", {"bf": "2", "x264-params": "open-gop=1"}, None),
    "refresh.mp4": ("libx264", "mp4", {"x264-params": "intra-refresh=1"}, None),
    "film.mkv": ("libx264", "matroska", {"bf": "2"}, True),
    "film.webm": ("libvpx-vp9", "webm", {"deadline": "realtime", "cpu-used": "8"}, True),
    "plain.avi": ("mpeg4", "avi", {}, False),
    "mpeg4.mp4": ("mpeg4", "mp4", {"bf": "2"}, True),
    "b-frames.avi": ("mpeg4", "avi", {"bf": "2"}, False),
    "film.ts": ("libx264", "mpegts", {"bf": "2"}, False),
    "film.gif": ("gif", "gif", {}, False),
}
SETTINGS = [
    ClipSettings(clips_per_source=3),
    ClipSettings(num_frames=5, fps=4.0, width=96, height=64, clips_per_source=4),
    ClipSettings(num_frames=4, fps=12.0, frame_stride=3, clips_per_source=2),
    ClipSettings(num_frames=2, fps=7.0, frame_stride=2, width=32, height=48, clips_per_source=5),
]


def _clips(path: Path, kind: str, settings: ClipSettings) -> list[Clip]:
    caption = (CaptionSpan("a thing"),)
    place = MediaPlace(str(path))
    source = SourceRecord(
        source_id("c", path.name), path.name, place, "c", kind, "CC0-1.0", caption, "given", 1, 1
    )
    return list(clips_of(source, settings))


def _film(folder: Path, name: str) -> Path:
    """Six drawn scenes, 12 s at 8 fps, a keyframe every 12 frames."""
    codec, container_format, options, _ = FILMS[name]
    rng = np.random.default_rng(len(name))
    frames = np.concatenate([draw_clip(random_scene(rng), rng, 16) for _ in range(6)])
    pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
    encode(folder / name, frames, 8.0, codec, pix_fmt, container_format, options={"g": "12"} | options)
    return folder / name


def _assert_made_again(path: Path, clips: list[Clip]) -> None:
    assert clips
    for clip in clips:
        assert np.array_equal(frames_from_params(str(path), clip.params_json), clip.frames_nhwc), (
            clip.params_json
        )
    with open(path, "rb") as file:
        assert np.array_equal(frames_from_params(file, clips[-1].params_json), clips[-1].frames_nhwc)


@pytest.mark.parametrize("settings", SETTINGS)
def test_pseudo_videos_are_made_again(tmp_path: Path, settings: ClipSettings) -> None:
    rng = np.random.default_rng(3)
    Image.fromarray(draw_image(random_scene(rng, moving=False), rng, 96)).save(tmp_path / "image.png")
    _assert_made_again(tmp_path / "image.png", _clips(tmp_path / "image.png", "images", settings))


@pytest.mark.parametrize("name", FILMS)
def test_videos_are_made_again(tmp_path: Path, name: str) -> None:
    path = _film(tmp_path, name)
    for settings in SETTINGS:
        for kind in ("short-videos", "long-videos"):
            _assert_made_again(path, _clips(path, kind, settings))


@pytest.mark.parametrize("name", FILMS)
def test_frames_after_a_seek_are_those_of_linear_decoding(tmp_path: Path, name: str) -> None:
    path = _film(tmp_path, name)
    _assert_seeking_changes_nothing(path, np.arange(0.0, 14.0, 0.7))
    with open_video(path) as (container, stream):
        start = seek_to_keyframe(container, stream, 9.0)
    assert FILMS[name][3] in (None, start is not None)


@pytest.mark.parametrize(
    "name",
    [
        "videos/bikes.mp4",
        "videos/carphone_pristine.mp4",
        "videos/decord_flipping_a_pancake.mkv",
        pytest.param("videos/torchcodec_nasa_13013.mp4", marks=pytest.mark.slow),
        pytest.param("research-only/v_SoccerJuggling_g23_c01.avi", marks=pytest.mark.slow),
        "research-only/v_CricketShot_g04_c01_rgb.gif",
    ],
)
def test_real_videos_are_made_again(shared_dir: Path, name: str) -> None:
    path = shared_dir / "media" / name
    _assert_seeking_changes_nothing(path, np.array([1.0, 3.0, 7.9]))
    for kind in ("short-videos", "long-videos"):
        clips = _clips(path, kind, ClipSettings(num_frames=4, fps=5.0, clips_per_source=2))
        _assert_made_again(path, clips[:1] + clips[-2:])


def _assert_seeking_changes_nothing(path: Path, from_s: np.ndarray) -> None:
    resizer = Resizer(path.name, 64, 64)
    linear = [(decoded.time_s, resizer.upright(decoded)) for decoded in iter_decoded(path)]
    for start_s in from_s.tolist():
        sought = [
            (decoded.time_s, resizer.upright(decoded)) for decoded in iter_decoded(path, from_s=start_s)
        ]
        assert sought[0][0] <= max(start_s, linear[0][0])
        for (time_s, frame), (linear_s, linear_frame) in zip(sought, linear[-len(sought) :], strict=True):
            assert time_s == linear_s and np.array_equal(frame, linear_frame), (start_s, time_s, linear_s)


def test_a_clip_in_the_middle_of_a_long_file_starts_at_the_keyframe_before(tmp_path: Path) -> None:
    frames = draw_clip(Scene("red", "circle", "up"), np.random.default_rng(0), 10)
    encode(
        tmp_path / "long.mp4",
        (frames[i % 10] for i in range(400)),
        8.0,
        options={"g": "40", "sc_threshold": "0"},
    )
    first = next(iter_decoded(tmp_path / "long.mp4", from_s=27.3))
    assert first.time_s == 25.0


def test_variable_frame_rates_are_made_again(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    with av.open(str(tmp_path / "film.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "10"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stamp = 0
        for pixels in draw_clip(Scene("red", "circle", "up"), rng, 60):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = stamp, Fraction(1, 25)
            stamp += int(rng.integers(1, 9))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    for settings in SETTINGS:
        for kind in ("short-videos", "long-videos"):
            _assert_made_again(tmp_path / "film.mkv", _clips(tmp_path / "film.mkv", kind, settings))
