"""Folders of finished videos: which files are taken, and every folder that is refused before a network is loaded."""

import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from flows.evaluate import check
from flows.evaluate_request import EvaluateParams
from flows.profile import Profile
from tasks.clips.video_io import encode
from tasks.errors import RequestError
from tasks.evaluation.protocols import _PROTOCOLS, find_protocol
from tasks.evaluation.settings import EvaluationSettings
from tasks.evaluation.video_folder import VideoFolder, find_videos
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
            check(EvaluateParams(**{"videos": folder, "reference": reference, **values}))
        assert "\n" not in str(caught.value)
    check(EvaluateParams(videos=folder, reference=reference))
