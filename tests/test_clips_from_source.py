"""Clips of videos: cuts are found exactly, captions follow the shots, and bad sources say what is wrong."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tasks.clips.from_params import frames_from_params
from tasks.clips.from_source import clips_of
from tasks.clips.images import read_image
from tasks.clips.settings import ClipSettings
from tasks.clips.video_io import encode, iter_frames
from tasks.corpora.records import CaptionSpan, MediaPlace, SourceRecord, source_id
from tasks.errors import ItemError
from tasks.tiny.world.drawing import Scene, draw_clip
from tests.drawn_films import cut_scenes
from tests.field_media import add_film

SHARED_MEDIA = Path(__file__).parents[1].parent / "shared/media"


def _source(path: Path, kind: str, *captions: CaptionSpan, problem: str | None = None) -> SourceRecord:
    captions = captions or (CaptionSpan("a thing"),)
    name = path.name
    return SourceRecord(
        source_id("c", name),
        name,
        MediaPlace(str(path)),
        "c",
        kind,
        "CC0-1.0",
        captions,
        "given",
        1,
        1,
        None,
        problem,
    )


def _film(path: Path, lengths: list[int]) -> list[float]:
    """Writes a film of scenes of these lengths in frames; the times in seconds at which they start."""
    encode(path, np.concatenate(cut_scenes(lengths)), 8.0)
    return [start / 8.0 for start in np.cumsum([0, *lengths[:-1]])]


def test_shots_take_their_captions_and_clips_lie_in_their_middle(tmp_path: Path) -> None:
    starts = _film(tmp_path / "film.mp4", [12, 9, 12])
    captions = (CaptionSpan("one", 0, 1.2), CaptionSpan("two", 1.2, 2.5), CaptionSpan("three", 2.4, None))
    source = _source(tmp_path / "film.mp4", "long-videos", *captions)
    clips = list(clips_of(source, ClipSettings()))
    assert [clip.captions[0].text for clip in clips] == ["one", "two", "three"]
    assert [clip.start_s for clip in clips] == [starts[0] + 0.25, starts[1], starts[2] + 0.25]
    every = np.stack([frame for _, frame in iter_frames(tmp_path / "film.mp4", 64, 64)])
    assert np.array_equal(clips[2].frames_nhwc, every[23:31])
    assert len({clip.clip_id for clip in clips}) == 3
    only_two = _source(tmp_path / "film.mp4", "long-videos", CaptionSpan("two", 1.6, 2.5))
    assert [clip.captions[0].text for clip in clips_of(only_two, ClipSettings())] == ["two"]


@pytest.mark.parametrize("suffix", [".ts", ".mkv", ".mp4"])
@pytest.mark.parametrize("kind", ["long-videos", "short-videos"])
def test_captions_of_a_film_whose_times_start_above_zero_count_from_its_beginning(
    tmp_path: Path, suffix: str, kind: str
) -> None:
    path = tmp_path / f"film{suffix}"
    scenes = cut_scenes([12, 9, 12])
    with av.open(str(path), "w") as container:
        film = add_film(container, "libx264", (64, 64), "yuv420p", crf="10")
        for index, pixels in enumerate(np.concatenate(scenes)):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = index + 80, Fraction(1, 8)
            container.mux(film.encode(frame))
        container.mux(film.encode())
    captions = (CaptionSpan("one", 0, 1.5), CaptionSpan("two", 1.5, 2.6), CaptionSpan("three", 2.6, 4.1))
    count = 3 if kind == "short-videos" else 1  # of a file, of a shot
    clips = list(clips_of(_source(path, kind, *captions), ClipSettings(clips_per_source=count)))
    assert [clip.captions[0].text for clip in clips] == ["one", "two", "three"]
    for clip in clips:
        again = frames_from_params(path, clip.params_json)
        assert np.array_equal(again, clip.frames_nhwc)


def test_short_videos_give_evenly_spaced_clips_that_are_the_same_every_time(tmp_path: Path) -> None:
    frames = draw_clip(Scene("red", "circle", "up"), np.random.default_rng(0), 10)
    encode(tmp_path / "clip.mp4", frames, 8.0, options={"crf": "5"})
    source = _source(tmp_path / "clip.mp4", "short-videos")
    (clip,) = clips_of(source, ClipSettings())
    assert clip.frames_nhwc.shape == (8, 64, 64, 3) and clip.start_s == 0.125 and clip.fps == 8.0
    assert np.abs(clip.frames_nhwc.astype(int) - frames[1:9]).mean() < 3
    (again,) = clips_of(source, ClipSettings())
    assert (again.clip_id, again.params_json) == (clip.clip_id, clip.params_json)
    assert np.array_equal(again.frames_nhwc, clip.frames_nhwc)
    (faster,) = clips_of(source, ClipSettings(fps=16.0))
    assert faster.clip_id != clip.clip_id
    several = list(clips_of(source, ClipSettings(num_frames=4, clips_per_source=3)))
    assert [clip.start_s for clip in several] == [0.125, 0.375, 0.625]


def test_bad_sources_are_item_errors_with_their_stage(tmp_path: Path) -> None:
    encode(tmp_path / "brief.mp4", draw_clip(Scene("red", "circle", "up"), np.random.default_rng(0), 4), 8.0)
    (tmp_path / "empty.mp4").touch()
    cases = [
        (_source(tmp_path / "brief.mp4", "short-videos"), "sample", "too short"),
        (_source(tmp_path / "brief.mp4", "long-videos"), "shots", "gave no clip"),
        (_source(tmp_path / "empty.mp4", "short-videos"), "decode", "cannot be decoded"),
        (_source(tmp_path / "empty.mp4", "images"), "decode", "cannot be decoded"),
        (_source(tmp_path / "gone.mp4", "long-videos"), "read", "no such file"),
        (_source(tmp_path / "gone.mp4", "images", problem="no such file"), "read", "no such file"),
    ]
    for source, stage, said in cases:
        with pytest.raises(ItemError, match=said) as caught:
            list(clips_of(source, ClipSettings()))
        assert caught.value.stage == stage and source.uri in str(caught.value)


def test_real_videos_become_clips() -> None:
    if not SHARED_MEDIA.exists():
        pytest.skip("../shared/media is not here")
    settings = ClipSettings(width=128, height=64, clips_per_source=2)
    for name in ("videos/carphone_pristine.mp4", "research-only/v_SoccerJuggling_g24_c01.avi"):
        clips = list(clips_of(_source(SHARED_MEDIA / name, "short-videos"), settings))
        assert [clip.frames_nhwc.shape for clip in clips] == [(8, 64, 128, 3)] * 2
        assert clips[0].start_s < clips[1].start_s


def _turned_film(path: Path, degrees: int, aspect: Fraction) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"crf": "5"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = aspect
        stream.set_display_rotation(degrees)
        stored = np.zeros((64, 96, 3), np.uint8)
        stored[:32, :48] = 255
        for _ in range(16):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(stored, format="rgb24")))
        container.mux(stream.encode())


@pytest.mark.parametrize("kind", ["short-videos", "long-videos"])
def test_clips_and_the_source_s_size_are_upright(tmp_path: Path, kind: str) -> None:
    for degrees, aspect, size in (
        (0, 1, (96, 64)),
        (90, 1, (64, 96)),
        (-90, 2, (64, 192)),
        (180, 2, (192, 64)),
    ):
        _turned_film(tmp_path / "turned.mp4", degrees, Fraction(aspect))
        (clip,) = clips_of(_source(tmp_path / "turned.mp4", kind), ClipSettings())
        assert (clip.source_width, clip.source_height) == size
        assert clip.source_duration_s == pytest.approx(2.0, abs=0.01)
        lit = np.rot90(np.kron([[1, 0], [0, 0]], np.ones((2, 2))), degrees // 90)[::3, ::3] > 0
        corners = clip.frames_nhwc[0][8:-8:47, 8:-8:47].mean(axis=2) > 128
        assert np.array_equal(corners, lit)


def test_a_stride_takes_every_kth_instant(tmp_path: Path) -> None:
    frames = draw_clip(Scene("red", "circle", "up"), np.random.default_rng(0), 30)
    encode(tmp_path / "clip.mp4", frames, 8.0, options={"crf": "5"})
    every = np.stack([frame for _, frame in iter_frames(tmp_path / "clip.mp4", 64, 64)])
    settings = ClipSettings(num_frames=5, frame_stride=3)
    assert settings.span_s == pytest.approx(1.5) and settings.clip_fps == pytest.approx(8 / 3)
    for kind in ("short-videos", "long-videos"):
        (clip,) = clips_of(_source(tmp_path / "clip.mp4", kind), settings)
        first = round(clip.start_s * 8)
        assert clip.fps == pytest.approx(8 / 3)
        assert np.array_equal(clip.frames_nhwc, every[first : first + 13 : 3])


def test_several_clips_of_a_shot_have_a_cap(tmp_path: Path) -> None:
    _film(tmp_path / "film.mp4", [12, 12])
    clips = list(
        clips_of(
            _source(tmp_path / "film.mp4", "long-videos"), ClipSettings(num_frames=4, clips_per_source=3)
        )
    )
    assert [clip.start_s for clip in clips] == sorted(clip.start_s for clip in clips)
    assert len(clips) == 6 and len({clip.clip_id for clip in clips}) == 6


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_animations_are_images_by_their_first_frame_and_videos_by_all(tmp_path: Path, suffix: str) -> None:
    frames = draw_clip(Scene("red", "circle", "up"), np.random.default_rng(0), 12)
    pictures = [Image.fromarray(frame) for frame in frames]
    path = tmp_path / f"moving.{suffix}"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=120, lossless=True)
    (clip,) = clips_of(_source(path, "short-videos"), ClipSettings(fps=1 / 0.12))
    assert np.abs(clip.frames_nhwc.astype(int) - frames[2:10]).mean() < 3
    assert next(clips_of(_source(path, "long-videos"), ClipSettings())).frames_nhwc.shape == (8, 64, 64, 3)
    assert np.abs(np.asarray(read_image(path).picture).astype(int) - frames[0]).mean() < 3
