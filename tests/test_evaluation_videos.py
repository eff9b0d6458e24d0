"""Finished videos scored on real actors: a model's samples, kept without loss, have the figures of the samples."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from flows.evaluate.flow import evaluate
from flows.evaluate.request import EvaluateParams
from flows.profile import Profile
from storage.registry.registry import Registry
from tasks.clips.ffmpeg import write_mp4
from tasks.clips.video_io import encode
from tasks.corpora.records import MediaPlace
from tasks.errors import RequestError
from tasks.evaluation.features import Reading, VideoFeatures
from tasks.evaluation.measure_files import decode_and_measure, measure_files, videos_digest
from tasks.evaluation.measure_samples import SampledVideos, measure_samples
from tasks.evaluation.metrics import reported_metrics
from tasks.evaluation.networks import Networks
from tasks.evaluation.protocols import find_protocol
from tasks.evaluation.settings import EvaluationSettings
from tasks.evaluation.video_folder import VideoFolder, find_videos
from tasks.evaluation.workers import MeasuringPool
from tasks.generation.asked import AskedVideos
from tasks.generation.generate import stream_batch
from tasks.generation.settings import SamplingSettings
from tasks.tiny.world.corpora import write_tiny_world
from tests.drawn_films import cut_scenes
from tests.evaluation_rows import reported_names
from tests.i3d_files import i3d_checkpoint, put_i3d_weights

TINY = find_protocol("tiny")
PROMPTS = [
    f"a {colour} {shape} moving {way}"
    for colour, shape, way in (
        ("red", "circle", "right"),
        ("blue", "square", "left"),
        ("green", "triangle", "up"),
        ("yellow", "circle", "down"),
    )
]
ROWS_OF_CLIPS = ("cycling_n", "seam_boundary_n", "seam_guided_to_free_n")


@pytest.fixture(scope="module")
def sampled(tiny_profile: Profile) -> SampledVideos:
    """Four videos of one clip in few steps: here only the way to the figures is looked at."""
    quick = {"num_inference_steps": 3, "prompts_per_batch": 2, "seam": "keep"}
    sampling = SamplingSettings.model_validate(tiny_profile.sampling.model_dump() | quick)
    return SampledVideos(Path(tiny_profile.model), PROMPTS, list(range(4)), 1, sampling)


@pytest.fixture(scope="module")
def folder(sampled: SampledVideos, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same videos as files that lose nothing, with their prompts."""
    folder = tmp_path_factory.mktemp("videos")
    rows = []
    for start in range(0, 4, 2):
        batch = slice(start, start + 2)
        asked = AskedVideos(
            sampled.model_dir, PROMPTS[batch], sampled.seeds[batch], sampled.num_clips, sampled.sampling
        )
        clips = stream_batch(asked)
        for index, frames_thwc in enumerate(np.concatenate(list(clips), axis=1), start):
            path = folder / f"video-{index}.mkv"
            encode(path, frames_thwc, sampled.sampling.fps, "ffv1", "bgr0", "matroska")
            rows.append(f"{path.name}\t{PROMPTS[index]}\n")
    (folder / "manifest.tsv").write_text("file\tcaption\n" + "".join(rows))
    return folder


@pytest.fixture(scope="module")
def networks(tiny_profile: Profile) -> Networks:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("VIDRD_HOME", raising=False)
        checkpoint = i3d_checkpoint()
    return Networks(tiny_profile.clip, str(checkpoint))


def _find(folder: Path, num_videos: int = 4) -> VideoFolder:
    return find_videos(folder, TINY, EvaluationSettings(num_videos=num_videos, long_videos=0), True)


def _measure(
    videos: VideoFolder, networks: Networks, pool: MeasuringPool, on_progress: Any = None
) -> VideoFeatures:
    reading = Reading(TINY.num_frames, TINY.frame_repeats, videos.header.num_frames, 0)
    digest = videos_digest(videos, videos.digests())
    return measure_files(videos, digest, reading, networks, pool, on_progress)


@pytest.mark.slow
def test_samples_kept_without_loss_have_the_figures_of_the_samples(
    tmp_home: Path, sampled: SampledVideos, folder: Path, networks: Networks, measuring_pool: MeasuringPool
) -> None:
    clip = sampled.sampling
    of_model = Reading(TINY.num_frames, TINY.frame_repeats, clip.num_frames, clip.prompt_frames)
    direct = measure_samples(sampled, of_model, networks, measuring_pool).features
    videos = _find(folder)
    assert videos.captions == PROMPTS and videos.header.fps == clip.fps
    scored = _measure(videos, networks, measuring_pool)
    for name, column in direct.arrays().items():
        np.testing.assert_allclose(getattr(scored, name), column, rtol=1e-4, atol=1e-4, err_msg=name)
    for name, metric in reported_metrics(scored, direct.take([3, 2, 1, 0]), TINY).items():
        same = reported_metrics(direct, direct.take([3, 2, 1, 0]), TINY)[name].estimate
        assert metric.estimate.value == pytest.approx(same.value, rel=1e-3, abs=1e-3), name


@pytest.fixture(scope="module")
def long_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos of 22 frames that nobody has captioned: two jobs, four windows each."""
    folder = tmp_path_factory.mktemp("long")
    _write_drawn(folder, 22)
    return folder


def _write_drawn(folder: Path, num_frames: int) -> None:
    for index in range(3):
        (frames_thwc,) = cut_scenes([num_frames], seed=index)
        write_mp4(folder / f"video-{index}.mp4", frames_thwc, 8.0, (64, 64))


class Killed(Exception):
    """What a kill -9 between two jobs comes to: the process does nothing more."""


def test_a_killed_scoring_goes_on_and_content_alone_tells_what_is_known(
    tmp_home: Path, tmp_path: Path, long_folder: Path, tiny_profile: Profile, measuring_pool: MeasuringPool
) -> None:
    told: list[int] = []
    networks = Networks(tiny_profile.clip)  # I3D would take a second for each of 24 windows

    def run(folder: Path, die_after: int | None = None) -> VideoFeatures:
        told.clear()

        def on_progress(done: int, total: int | None, note: str = "") -> None:
            told.append(done)
            if done == die_after:
                raise Killed

        return _measure(_find(folder, 3), networks, measuring_pool, on_progress)

    with pytest.raises(Killed):
        run(long_folder, die_after=2)
    resumed = run(long_folder)
    assert told == [3]
    assert resumed.text_score_nw.shape == (3, 0)
    assert all(np.isnan(getattr(resumed, name)).all() for name in ROWS_OF_CLIPS)
    elsewhere = shutil.copytree(long_folder, tmp_path / "elsewhere")
    again = run(elsewhere)
    assert told == []
    for name, column in resumed.arrays().items():
        np.testing.assert_array_equal(getattr(again, name), column, err_msg=name)
    digest = videos_digest(_find(elsewhere, 3), _find(elsewhere, 3).digests())
    (elsewhere / "video-0.mp4").rename(elsewhere / "video-9.mp4")  # another order
    assert videos_digest(_find(elsewhere, 3), _find(elsewhere, 3).digests()) != digest
    (elsewhere / "video-9.mp4").rename(elsewhere / "video-0.mp4")
    for name in ("video-0", "video-1", "video-2"):
        (elsewhere / f"{name}.txt").write_text("a red circle")
    assert videos_digest(_find(elsewhere, 3), _find(elsewhere, 3).digests()) != digest


def test_what_only_decoding_finds_is_named(
    tmp_home: Path, tmp_path: Path, folder: Path, networks: Networks, measuring_pool: MeasuringPool
) -> None:
    spoilt = shutil.copytree(folder, tmp_path / "spoilt")
    for name in ("video-1.mkv", "video-3.mkv"):
        data = bytearray((spoilt / name).read_bytes())
        for place in range(len(data) * 45 // 100, len(data) * 55 // 100):
            data[place] ^= 0xA5
        (spoilt / name).write_bytes(data)
    videos = _find(folder)
    places = [replace(source, place=MediaPlace(str(spoilt / source.uri))) for source in videos.sources]
    with pytest.raises(RequestError, match=r"2 of 4 videos in .* video-1\.mkv: .*; video-3\.mkv: ") as caught:
        _measure(replace(videos, sources=places), networks, measuring_pool)
    assert "\n" not in str(caught.value)


def test_features_that_are_not_finite_are_told_by_their_file(
    tmp_path: Path, tiny_profile: Profile, folder: Path
) -> None:
    clip = shutil.copytree(tiny_profile.clip, tmp_path / "clip")
    weights = load_file(clip / "open_clip_model.safetensors")
    save_file(
        weights | {"visual.proj": np.full_like(weights["visual.proj"], np.nan)},
        clip / "open_clip_model.safetensors",
    )
    videos = _find(folder)
    reading = Reading(TINY.num_frames, TINY.frame_repeats, videos.header.num_frames, 0)
    with pytest.raises(RequestError, match=r"video-0\.mkv: .* is not finite \(2 of 2 videos"):
        decode_and_measure(videos.sources[:2], None, videos.header, reading, Networks(str(clip)))


@pytest.mark.slow
@pytest.mark.gate
def test_a_folder_is_scored_into_a_run_of_its_own(
    prefect_session: None,
    registry_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    put_i3d_weights()
    sizes = {"images": 2, "short_videos": 2, "class_videos": 2, "long_videos": 1, "reference": 4}
    reference = write_tiny_world(tmp_path / "world", seed=3, **sizes).parent / "reference"
    folder = tmp_path / "videos"
    _write_drawn(folder, 12)

    report = evaluate(EvaluateParams(videos=folder, reference=reference))

    of_pixels = {"frame_consistency", "pixel_consistency", "motion", "frozen"}
    assert set(report["metrics"]) == {"fvd", "kvd", "is_i3d"} | of_pixels
    assert set(report["unavailable"]) == {
        "is",
        "text_score",
        *(name.removesuffix("_n") for name in ROWS_OF_CLIPS),
    }
    assert (report["videos"]["found"], report["videos"]["asked"], report["n"]) == (3, 40, 3)
    assert (report["fps"], report["setup"]["frames_per_video"]) == (8.0, 12)
    assert {(metric["n"], metric["protocol"]) for metric in report["metrics"].values()} == {(3, "tiny")}
    assert all(metric["low"] <= metric["value"] <= metric["high"] for metric in report["metrics"].values())
    assert len(report["fvd_over_time"]["values"]) == 2
    assert report["metrics"]["fvd"]["black_white_check"] == pytest.approx(151.392, abs=0.01)
    assert "none is a file of the reference" in report["lineage"]

    registry = Registry()
    run = registry.client.get_run(report["mlflow_run"])
    assert run.data.metrics == pytest.approx(reported_names(report)) and "fvd.tiny.n3" in run.data.metrics
    assert run.data.params["setup.protocol"] == "tiny" and run.info.status == "FINISHED"
    assert run.data.tags["evaluation.reference"] == report["reference"]["digest"]
    files = {file.path for file in registry.client.list_artifacts(run.info.run_id)}
    assert files == {"report.json", "report.md", "measures.npz", "reference.npz"}
    kept = json.loads(Path(registry.client.download_artifacts(run.info.run_id, "report.json")).read_text())
    assert kept["metrics"] == report["metrics"]
    assert registry.client.search_registered_models() == []

    page = Path(registry.client.download_artifacts(run.info.run_id, "report.md")).read_text(encoding="utf-8")
    assert f"| fvd | {report['metrics']['fvd']['value']:.4g} |" in page
    assert f"Videos `{folder}` (3 of 3 videos, not the usual 40; 12 frames at 8 fps)" in page
    assert "text_score is missing: the folder has no captions" in page
