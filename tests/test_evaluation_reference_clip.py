"""Clips of real videos: every frame of the file once, or instants at a rate; from the middle, or drawn anew."""

import shutil
import subprocess
from collections import Counter
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from tasks.clips.from_source import clips_of
from tasks.clips.reading import probe
from tasks.clips.settings import ClipSettings
from tasks.corpora.records import CaptionSpan, MediaPlace, SourceRecord, source_id
from tasks.errors import ItemError
from tasks.evaluation.reference_clip import ReferenceClip, cut_reference_clip
from tasks.evaluation.ucf101 import class_prompts, is_ucf101, read_ucf101
from tests.ucf101_layout import numbers_of, write_numbered_video

SHARED_MEDIA = Path(__file__).parents[1].parent / "shared/media"
UCF_CLIPS = (
    "v_SoccerJuggling_g23_c01.avi",
    "v_SoccerJuggling_g24_c01.avi",
    "v_CricketShot_g04_c01_rgb.gif",
)


def _source(path: Path, *captions: CaptionSpan, problem: str | None = None) -> SourceRecord:
    return SourceRecord(
        source_id=source_id("ucf101", path.name),
        uri=path.name,
        place=MediaPlace(str(path)),
        corpus="ucf101",
        kind="short-videos",
        licence="unknown",
        captions=captions or (CaptionSpan("a grey ground"),),
        caption_origin="label",
        size_bytes=0,
        mtime_ns=0,
        problem=problem,
    )


def _cut(
    path: Path, num_frames: int, fps: float | None = None, position: str = "random", seed: int = 0
) -> ReferenceClip:
    return cut_reference_clip(_source(path), num_frames, fps, 64, 48, position, seed)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 numbered frames at 25 fps."""
    return write_numbered_video(tmp_path_factory.mktemp("video") / "v_YoYo_g01_c01.avi", 40)


def _decoded_by_ffmpeg(path: Path, width: int, height: int) -> np.ndarray:
    """All frames of a file, uint8 (n, h, w, 3), as the ffmpeg program decodes them: none dropped, none doubled."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-fps_mode", "passthrough"]
    colours = ["-sws_flags", "bicubic+accurate_rnd+full_chroma_int", "-pix_fmt", "rgb24"]
    raw = subprocess.run([*command, *colours, "-f", "rawvideo", "-"], capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)


@pytest.mark.parametrize("position", ["middle", "random"])
@pytest.mark.parametrize("name", UCF_CLIPS)
def test_native_clips_are_ffmpeg_s_frames_one_by_one(name: str, position: str) -> None:
    path = SHARED_MEDIA / "research-only" / name
    if not path.exists():
        pytest.skip("../shared/media/research-only is not here")
    info = probe(path)
    whole_nhwc = _decoded_by_ffmpeg(path, info.width, info.height)
    clip = cut_reference_clip(_source(path), 16, None, info.width, info.height, position, 3)  # type: ignore[arg-type]
    assert clip.fps == info.fps and clip.frames_nhwc.shape == (16, info.height, info.width, 3)
    # Mean difference of each frame to each of the file's; the two colour conversions round otherwise.
    pixels_nhwc = whole_nhwc[:, ::4, ::4].astype(np.int16)
    difference_nm = np.array(
        [np.abs(pixels_nhwc - frame[::4, ::4]).mean(axis=(1, 2, 3)) for frame in clip.frames_nhwc]
    )
    numbers = difference_nm.argmin(axis=1)
    start = int(numbers[0])
    assert numbers.tolist() == list(range(start, start + 16))
    assert difference_nm.min(axis=1).max() < 1
    if position == "middle":
        assert abs(start - (len(whole_nhwc) - 16 - start)) <= 1


def test_real_videos_of_the_layout_become_clips_with_their_class_s_sentence(tmp_path: Path) -> None:
    files = [SHARED_MEDIA / "research-only" / name for name in UCF_CLIPS]
    if not files[0].exists():
        pytest.skip("../shared/media/research-only is not here")
    (tmp_path / "ucfTrainTestlist").mkdir()
    for split, listed in (("train", files[:2]), ("test", files[2:])):
        names = [f"{file.name.split('_')[1]}/{file.name}" for file in listed]
        (tmp_path / f"ucfTrainTestlist/{split}list01.txt").write_text(
            "".join(f"{name} 1\n" for name in names)
        )
        for file, name in zip(listed, names, strict=True):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            shutil.copy(file, tmp_path / name)
    assert is_ucf101(tmp_path)
    for source in read_ucf101(tmp_path, "train+test"):
        clip = cut_reference_clip(source, 16, None, 64, 64, "random", 0)
        assert clip.frames_nhwc.shape == (16, 64, 64, 3) and np.ptp(clip.frames_nhwc) > 100
        assert clip.caption == class_prompts()[source.uri.split("/")[0]]
        assert clip.fps == pytest.approx(25 if "Cricket" in source.uri else 30000 / 1001)


def test_native_clips_are_consecutive_frames(video: Path) -> None:
    for num_frames in (1, 16, 40):
        numbers = numbers_of(_cut(video, num_frames).frames_nhwc)
        assert numbers == list(range(numbers[0], numbers[0] + num_frames))
    clip = _cut(video, 16, position="middle")
    assert numbers_of(clip.frames_nhwc) == list(range(12, 28)) and clip.fps == 25


def test_the_middle_clip_is_the_dataset_s(video: Path) -> None:
    for num_frames, fps in ((8, 8.0), (16, 25.0), (5, 4.0), (30, 60.0)):
        settings = ClipSettings(num_frames=num_frames, fps=fps, width=64, height=48)
        (expected,) = clips_of(_source(video), settings)
        clip = _cut(video, num_frames, fps, "middle")
        assert np.array_equal(clip.frames_nhwc, expected.frames_nhwc) and clip.fps == fps


@pytest.mark.parametrize(("fps", "starts"), [(None, 25), (25.0, 25), (12.5, 10)])
def test_random_starts_cover_all_that_fit_evenly(video: Path, fps: float | None, starts: int) -> None:
    draws = 6 * starts
    firsts = Counter(numbers_of(_cut(video, 16, fps, seed=seed).frames_nhwc[:1])[0] for seed in range(draws))
    assert sorted(firsts) == list(range(starts))
    # Chi-squared with starts - 1 degrees of freedom: fair draws exceed this once in thousands.
    expected = draws / starts
    excess = sum((count - expected) ** 2 / expected for count in firsts.values())
    assert excess < (starts - 1) + 4.5 * np.sqrt(2 * (starts - 1))


def test_random_starts_hang_on_seed_and_source_alone(video: Path, tmp_path: Path) -> None:
    def first(path: Path, seed: int) -> int:
        return numbers_of(_cut(path, 4, seed=seed).frames_nhwc)[0]

    moved = tmp_path / video.name
    moved.write_bytes(video.read_bytes())
    renamed = tmp_path / "v_YoYo_g01_c02.avi"
    renamed.write_bytes(video.read_bytes())
    seeds = range(12)
    assert [first(video, seed) for seed in seeds] == [first(moved, seed) for seed in seeds]
    assert [first(video, seed) for seed in seeds] != [first(renamed, seed) for seed in seeds]


def test_the_caption_is_the_one_of_the_clip_s_seconds(video: Path) -> None:
    spans = (CaptionSpan("the start", 0.0, 0.4), CaptionSpan("the middle", 0.4, 1.2))
    clip = cut_reference_clip(_source(video, *spans), 16, None, 64, 48, "middle", 0)
    assert clip.caption == "the middle"
    assert _cut(video, 16).caption == "a grey ground"


@pytest.mark.parametrize("position", ["middle", "random"])
def test_short_videos_say_what_they_have_and_what_is_needed(tmp_path: Path, position: str) -> None:
    short = write_numbered_video(tmp_path / "short.avi", 15)
    with pytest.raises(ItemError, match=r"^short\.avi: too short: 15 frames, a clip needs 16$") as caught:
        _cut(short, 16, None, position)
    assert caught.value.stage == "sample"
    with pytest.raises(ItemError, match=r"15 frames over 0\.56 s, a clip needs 16 over 3\.75 s") as caught:
        _cut(short, 16, 4.0, position)
    assert caught.value.stage == "sample"
    assert numbers_of(_cut(short, 15, None, position).frames_nhwc) == list(range(15))


@pytest.mark.parametrize("fps", [None, 8.0])
def test_damaged_videos_give_clips_or_item_errors(video: Path, tmp_path: Path, fps: float | None) -> None:
    data, rng = video.read_bytes(), np.random.default_rng(0)
    told = set()
    for tenths in range(10):
        cut = data[: len(data) * tenths // 10]
        scribbled = bytearray(data)
        for place in rng.integers(0, len(data), 40):
            scribbled[place] = rng.integers(256)
        for damaged in (cut, bytes(scribbled)):
            path = tmp_path / "damaged.avi"
            path.write_bytes(damaged)
            try:
                assert _cut(path, 8, fps).frames_nhwc.shape == (8, 48, 64, 3)
                told.add("clip")
            except ItemError as error:
                assert "damaged.avi: " in str(error) and "\n" not in str(error)
                told.add(error.stage)
    assert {"clip", "decode"} <= told


def test_what_is_no_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ItemError) as caught:
        _cut(tmp_path / "gone.avi", 8)
    assert caught.value.stage == "read"
    (tmp_path / "text.avi").write_text("This is no video.")
    with pytest.raises(ItemError) as caught:
        _cut(tmp_path / "text.avi", 8)
    assert caught.value.stage == "decode"
    with pytest.raises(ItemError, match=r"gone\.avi: no such file"):
        source = _source(tmp_path / "gone.avi", problem="no such file")
        cut_reference_clip(source, 8, None, 64, 48, "middle", 0)
