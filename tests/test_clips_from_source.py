"""Clips of videos: cuts are found exactly, captions follow the shots, and bad sources say what is wrong."""

from pathlib import Path

import numpy as np
import pytest

from tasks.clips.from_source import clips_of
from tasks.clips.settings import ClipSettings
from tasks.clips.video_io import encode, iter_frames
from tasks.corpora.records import CaptionSpan, MediaPlace, SourceRecord, source_id
from tasks.errors import ItemError
from tasks.tiny_world.drawing import Scene, draw_clip, random_scene

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


def _film(path: Path, lengths: list[int], seed: int = 0) -> list[float]:
    """Writes a film of scenes of these lengths in frames; the times in seconds at which they start."""
    rng = np.random.default_rng(seed)
    scenes: list[Scene] = []
    while len(scenes) < len(lengths):
        scene = random_scene(rng)
        if not scenes or (scene.colour != scenes[-1].colour and scene.shape != scenes[-1].shape):
            scenes.append(scene)
    encode(path, np.concatenate([draw_clip(s, rng, n) for s, n in zip(scenes, lengths, strict=True)]), 8.0)
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
