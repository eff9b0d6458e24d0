"""Folders of finished videos: which files are taken, and every folder that is refused before a network is loaded."""

import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from flows.evaluate.request import EvaluateParams, read_request
from flows.profile import Profile
from tasks.clips.video_io import encode
from tasks.errors import RequestError
from tasks.evaluation.protocols import _PROTOCOLS, find_protocol
from tasks.evaluation.settings import EvaluationSettings
from tasks.evaluation.video_folder import VideoFolder, find_videos, is_even
from tests.drawn_films import cut_scenes

TINY, QUICK = find_protocol("tiny"), find_protocol("quick")
SIX = EvaluationSettings(num_videos=6, long_videos=0)
CODECS = {
    "mp4": ("libx264", "yuv420p", "mp4"),
    "webm": ("libvpx-vp9", "yuv420p", "webm"),
    "avi": ("mpeg4", "yuv420p", "avi"),
    "mkv": ("ffv1", "bgr0", "matroska"),
    "gif": ("gif", "rgb8", "gif"),
}


def _write(path: Path, num_frames: int = 16, fps: float = 8.0, size: tuple[int, int] = (64, 64)) -> Path:
    codec, pix_fmt, container = CODECS[path.suffix[1:]]
    (frames_thwc,) = cut_scenes([num_frames], seed=len(path.stem))
    height, width = size
    tiled = np.tile(frames_thwc, (1, -(-height // 64), -(-width // 64), 1))[:, :height, :width]
    path.parent.mkdir(parents=True, exist_ok=True)
    encode(path, tiled, fps, codec, pix_fmt, container)
    return path


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six like videos in all the formats."""
    folder = tmp_path_factory.mktemp("written")
    for name in ("a.mp4", "b.webm", "c.avi", "d.mkv", "e.gif", "f.mp4"):
        _write(folder / name)
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return shutil.copytree(written, tmp_path / "videos")


def _find(folder: Path, protocol: Any = TINY, exact: bool = False, **settings: int) -> VideoFolder:
    return find_videos(folder, protocol, SIX.model_copy(update=settings), exact)


def _refusal(folder: Path, *arguments: Any, **settings: int) -> str:
    with pytest.raises(RequestError) as caught:
        _find(folder, *arguments, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_all_formats_are_read_in_the_order_of_their_names(folder: Path) -> None:
    (folder / "notes.txt").write_text("no caption of any video")
    _write(folder / "below" / "g.mp4", num_frames=9)  # what lies below is none of ours
    videos = _find(folder)
    assert [source.uri for source in videos.sources] == [
        "a.mp4",
        "b.webm",
        "c.avi",
        "d.mkv",
        "e.gif",
        "f.mp4",
    ]
    header = videos.header
    assert (header.num_frames, header.width, header.height, videos.found) == (16, 64, 64, 6)
    assert header.fps == 8.0  # the header of the GIF says 8.33
    assert videos.captions is None


def test_of_more_videos_the_seed_draws(folder: Path) -> None:
    def drawn(seed: int) -> list[str]:
        return [source.uri for source in _find(folder, num_videos=3, seed=seed).sources]

    assert drawn(1) == drawn(1) == sorted(drawn(1))
    assert len({tuple(drawn(seed)) for seed in range(8)}) > 1


def test_fewer_videos_are_a_sample_only_where_the_protocol_takes_any_number(folder: Path) -> None:
    assert len(_find(folder, num_videos=40).sources) == 6
    assert "has 6 videos, num_videos asks for 7" in _refusal(folder, TINY, True, num_videos=7)
    paper = find_protocol("vidrd-paper")
    refusal = _refusal(folder, paper, False, num_videos=10_000)
    assert "has 6 videos, the protocol vidrd-paper asks for 10000; none is counted twice" in refusal
    for path in sorted(folder.iterdir())[1:]:
        path.unlink()
    assert "has 1 videos, the protocol tiny asks for 2" in _refusal(folder)


def test_no_folder_and_no_video_are_refused(tmp_path: Path) -> None:
    assert "none is no folder" in _refusal(tmp_path / "none")
    assert "has no video (mp4, webm, avi, mkv or gif) directly in it" in _refusal(tmp_path)
    (tmp_path / "frame.png").write_bytes(b"")
    _write(tmp_path / "below" / "a.mp4")
    assert "folders below it are not read" in _refusal(tmp_path)


def test_short_videos_are_named_and_counted(folder: Path) -> None:
    for name in ("a.mp4", "c.avi"):
        _write(folder / name, num_frames=9)
    refusal = _refusal(folder, QUICK)
    assert "2 of 6 videos" in refusal and "too short: a.mp4 (9 frames), c.avi (9 frames)" in refusal
    assert refusal.endswith("the protocol quick reads 16 frames of each")


def test_no_protocol_shows_i3d_fewer_than_ten_frames() -> None:
    assert all(protocol.num_frames * protocol.frame_repeats >= 10 for protocol in _PROTOCOLS)


def _turned(path: Path) -> None:
    """Stored like the others, shown on its side."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(8))
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.set_display_rotation(90)
        for frame_hwc in np.zeros((16, 64, 96, 3), np.uint8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame_hwc, format="rgb24")))
        container.mux(stream.encode())


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda path: _write(path, num_frames=24), "5 of 6 have 16 frames, not f.mp4 (24)"),
        (lambda path: _write(path, size=(64, 96)), "5 of 6 have 64x64 pixels, not f.mp4 (96x64)"),
        (_turned, "5 of 6 have 64x64 pixels, not f.mp4 (64x96)"),
        (lambda path: _write(path, fps=8.5), "5 of 6 have 8 fps, not f.mp4 (8.5)"),
        (lambda path: path.write_bytes(path.read_bytes()[:200]), "1 of 6 videos in"),
        (lambda path: path.write_text("no video"), "cannot be used: f.mp4: cannot be decoded"),
        (lambda path: path.write_bytes(b""), "cannot be used: f.mp4: "),
        (lambda path: (path.unlink(), path.symlink_to("/dev/null")), "f.mp4: lies outside its corpus"),
    ],
    ids=["length", "size", "turn", "rate", "cut", "text", "empty", "link"],
)
def test_unlike_and_unreadable_videos_are_named(
    folder: Path, spoil: Callable[[Path], object], told: str
) -> None:
    spoil(folder / "f.mp4")
    refusal = _refusal(folder)
    assert told in refusal and "f.mp4" in refusal


HOLD_2_S = {7: 2.0}
"""Seconds that single frames stay; all others stay 1/8 s."""


def _timed(path: Path, holds: dict[int, float] = HOLD_2_S, fps: float = 8.0, num_frames: int = 16) -> Path:
    """A video whose frames come at the times that `holds` makes, as the container rounds them."""
    codec, pix_fmt, container_format = CODECS[path.suffix[1:]]
    unit = Fraction(1, 100) if path.suffix == ".gif" else Fraction(1, 1000)
    time_s = 0.0
    with av.open(str(path), "w", format=container_format) as container:
        stream = container.add_stream(codec, rate=Fraction(1 / unit))
        stream.width, stream.height, stream.pix_fmt = 64, 64, pix_fmt
        stream.codec_context.time_base = unit
        for number, frame_hwc in enumerate(cut_scenes([num_frames], seed=3)[0]):
            frame = av.VideoFrame.from_ndarray(frame_hwc, format="rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = round(time_s / unit), unit
            container.mux(stream.encode(frame))
            time_s += holds.get(number, 1 / fps)
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("suffix", ["gif", "mp4", "webm"])
@pytest.mark.parametrize(
    "holds",
    [HOLD_2_S, {3: 0.25}, {number: 0.2 for number in range(8, 16)}, {0: 2.0}],
    ids=["held", "gap", "slower", "first"],
)
def test_videos_without_one_frame_rate_are_refused(
    tmp_path: Path, suffix: str, holds: dict[int, float]
) -> None:
    """The real clips are taken at one rate, and no average is that of these frames."""
    for name in ("a", "b", "c"):
        _timed(tmp_path / f"{name}.{suffix}", holds if name != "b" else {})
    refusal = _refusal(tmp_path)
    assert f"2 of 3 videos in {tmp_path} have no one frame rate: a.{suffix} (a frame of" in refusal
    assert "b." not in refusal.partition("rate:")[2]


def test_a_folder_of_which_all_are_uneven_alike_is_refused_too(tmp_path: Path) -> None:
    for name in ("a.gif", "b.gif"):
        _timed(tmp_path / name)
    told = "a.gif (a frame of 2 s, on average 0.25 s), b.gif (a frame of 2 s, on average 0.25 s)"
    assert told in _refusal(tmp_path)


@pytest.mark.parametrize("fps", [8.0, 24000 / 1001, 30.0, 40.0])
@pytest.mark.parametrize("suffix", ["gif", "webm"])
def test_rounded_times_are_those_of_one_rate(tmp_path: Path, suffix: str, fps: float) -> None:
    for name in ("a", "b"):
        _timed(tmp_path / f"{name}.{suffix}", {}, fps)
    # 16 frames span 15 steps, whose ends GIF rounds to 1/100 s.
    assert _find(tmp_path).header.fps == pytest.approx(fps, rel=0.01 * fps / 15 + 1e-3)


def test_how_long_the_last_frame_stays_is_no_part_of_the_rate(tmp_path: Path) -> None:
    """GIFs pause before they begin again."""
    for name in ("a.gif", "b.gif"):
        frames = [Image.fromarray(frame) for frame in cut_scenes([16], seed=3)[0]]
        durations = [120] * 15 + [2000]
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=durations, loop=0)
    assert _find(tmp_path).header.fps == pytest.approx(1 / 0.12, rel=1e-3)


def test_videos_of_one_frame_are_too_short(tmp_path: Path) -> None:
    for name in ("a.gif", "b.mp4"):
        _write(tmp_path / name, num_frames=1)
    assert "2 of 2 videos in" in _refusal(tmp_path) and "a.gif (1 frames), b.mp4 (1 frames)" in _refusal(
        tmp_path
    )


@given(
    fps=st.floats(2, 60),
    unit_s=st.sampled_from([0.01, 0.001, 1 / 90000]),
    num_frames=st.integers(8, 300),
    start_s=st.floats(0, 5),
    held=st.integers(0, 1000),
)
def test_one_missing_frame_is_seen_at_any_rate_and_rounding_is_not(
    fps: float, unit_s: float, num_frames: int, start_s: float, held: int
) -> None:
    times_s = start_s + np.arange(num_frames) / fps
    rounded = np.round(times_s / unit_s) * unit_s
    assume(unit_s < 0.45 / fps)
    assert is_even(rounded.tolist(), unit_s)
    gap = 1 + held % (num_frames - 2)
    late = np.round(np.where(np.arange(num_frames) > gap, times_s + 3 / fps, times_s) / unit_s) * unit_s
    assert not is_even(late.tolist(), unit_s)


def test_of_many_odd_files_a_few_are_named_and_all_counted(folder: Path) -> None:
    for path in folder.iterdir():
        path.write_text("no video")
    assert "6 of 6 videos" in _refusal(folder) and "and 3 more" in _refusal(folder)


def test_captions_are_those_of_a_reference_folder_for_all_or_none(folder: Path) -> None:
    names = sorted(path.name for path in folder.iterdir())
    rows = [f"{name}\ta caption of {name}" for name in names]

    def manifest(lines: list[str]) -> None:
        (folder / "manifest.tsv").write_text("\n".join(["file\tcaption", *lines]) + "\n")

    manifest(rows)
    assert _find(folder).captions == [f"a caption of {name}" for name in names]
    manifest([*rows, "gone.mp4\tlost", "below/x.mp4\tlost"])
    assert "captions name 2 files that are not directly in" in _refusal(folder)
    manifest(rows[1:])
    assert "1 of 6 videos in" in _refusal(folder) and "have no caption: a.mp4" in _refusal(folder)
    (folder / "a.txt").write_text("a side car")
    assert _find(folder).captions == ["a side car", *(f"a caption of {name}" for name in names[1:])]


def test_requests_are_refused_before_any_work(
    tmp_home: Path, tiny_profile: Profile, folder: Path, tmp_path: Path
) -> None:
    reference = shutil.copytree(folder, tmp_path / "reference")
    for path in list(reference.iterdir()):
        path.with_suffix(".txt").write_text("a square moving left")
    for values, told in (
        ({"model": tiny_profile.model}, "leave out model"),
        ({"model": "models:/vidrd@candidate"}, "leave out model"),
        ({"beside_champion": True}, "leave out beside_champion"),
        ({"then_promote": True}, "leave out then_promote"),
        ({"num_videos": 7}, "has 6 videos, num_videos asks for 7"),
        ({"protocol": "fvd"}, "protocol: 'fvd' is unknown"),
        ({"protocol": "fvd2048-16f"}, "has 6 videos, the protocol fvd2048-16f asks for 2048"),
        ({"protocol": "fvd2048-16f", "num_videos": 6}, "has not UCF-101's layout"),
        ({"reference": tmp_path / "none"}, "reference: .*none is no folder"),
        ({"c3d_weights": tmp_path / "none.pt"}, "c3d_weights: .*none.pt is no file"),
    ):
        with pytest.raises(RequestError, match=told) as caught:
            read_request(EvaluateParams(**{"videos": folder, "reference": reference, **values}))
        assert "\n" not in str(caught.value)
    read_request(EvaluateParams(videos=folder, reference=reference))
