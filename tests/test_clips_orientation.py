"""Display matrices, whole: turned and mirrored videos are upright in clips, their mp4, and where they are scored."""

import subprocess
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest

from tasks.clips.from_params import frames_from_params
from tasks.clips.orientation import UPRIGHT
from tasks.clips.reading import iter_decoded
from tasks.clips.settings import ClipSettings
from tasks.clips.video_io import decode_bytes, iter_frames
from tasks.evaluation.reference_clip import cut_reference_clip
from tasks.evaluation.video_folder import read_header
from tasks.ingest.decoding import decode_source
from tasks.ingest.items import DecodedClip
from tests.field_media import VIDEO_KINDS, add_film, clips_in, mux, source_of

WIDTH, HEIGHT = 96, 64
ONE = 1 << 16
# The four that say where a point goes, and what is shown of a picture (h, w, 3): all eight ways to lay one.
MATRICES = {
    "upright": ((1, 0, 0, 1), lambda stored: stored),
    "mirrored": ((-1, 0, 0, 1), lambda stored: stored[:, ::-1]),
    "upside-down": ((-1, 0, 0, -1), lambda stored: stored[::-1, ::-1]),
    "flipped": ((1, 0, 0, -1), lambda stored: stored[::-1]),
    "turned-right": ((0, 1, -1, 0), lambda stored: np.rot90(stored, 3)),
    "turned-left": ((0, -1, 1, 0), lambda stored: np.rot90(stored, 1)),
    "transposed": ((0, 1, 1, 0), lambda stored: stored.swapaxes(0, 1)),
    "mirrored-turned": ((0, -1, -1, 0), lambda stored: np.rot90(stored, 2).swapaxes(0, 1)),
}


def _picture() -> np.ndarray:
    """No two of its corners alike."""
    stored = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
    stored[:32, :48] = (240, 30, 30)
    stored[:32, 48:] = (30, 200, 30)
    stored[32:, :48] = (240, 240, 240)
    return stored


def _film(path: Path, matrix: tuple[int, int, int, int]) -> None:
    with av.open(str(path), "w") as container:
        stream = add_film(container, "libx264", (WIDTH, HEIGHT), "yuv444p", crf="5")
        a, b, c, d = (value * ONE for value in matrix)
        stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
        mux(container, stream, [_picture()] * 16)


def _assert_like(frame: np.ndarray, wanted: np.ndarray) -> None:
    assert frame.shape == wanted.shape
    assert np.abs(frame.astype(int) - wanted).mean() < 4


@pytest.mark.parametrize("container_format", ["mp4", "mov"])
@pytest.mark.parametrize("name", MATRICES)
def test_frames_are_as_players_show_them(tmp_path: Path, name: str, container_format: str) -> None:
    matrix, shown_of = MATRICES[name]
    path = tmp_path / f"film.{container_format}"
    _film(path, matrix)
    shown = shown_of(_picture())
    _assert_like(next(iter_frames(path))[1], shown)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-frames:v", "1"]
    raw = subprocess.run(
        [*command, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], capture_output=True, check=True
    )
    _assert_like(next(iter_frames(path))[1], np.frombuffer(raw.stdout, np.uint8).reshape(shown.shape))


@pytest.mark.parametrize("kind", VIDEO_KINDS)
@pytest.mark.parametrize("name", MATRICES)
def test_clips_and_their_mp4_are_upright_and_made_again(tmp_path: Path, name: str, kind: str) -> None:
    matrix, shown_of = MATRICES[name]
    path = tmp_path / "film.mp4"
    _film(path, matrix)
    shown = shown_of(_picture())
    height, width = shown.shape[:2]
    settings = ClipSettings(width=width, height=height)
    steps = list(decode_source(source_of(path, kind), settings, VIDEO_KINDS))
    (decoded,) = (step for step in steps if isinstance(step, DecodedClip))
    assert (decoded.clip.source_width, decoded.clip.source_height) == (width, height)
    assert decoded.video is not None
    _assert_like(decode_bytes(decoded.video)[0][0], shown)
    (clip,) = clips_in(path, kind, width=width, height=height)
    _assert_like(clip.frames_nhwc[0], shown)
    assert np.array_equal(frames_from_params(str(path), clip.params_json), clip.frames_nhwc)


@pytest.mark.parametrize("name", MATRICES)
def test_real_and_finished_videos_are_scored_upright(tmp_path: Path, name: str) -> None:
    matrix, shown_of = MATRICES[name]
    path = tmp_path / "film.mp4"
    _film(path, matrix)
    shown = shown_of(_picture())
    height, width = shown.shape[:2]
    source = source_of(path, "short-videos")
    for fps in (None, 8.0):
        clip = cut_reference_clip(source, 8, fps, width, height, "middle", 0)
        _assert_like(clip.frames_nhwc[0], shown)
    header = read_header(source)
    assert (header.width, header.height) == (width, height)


def test_a_matrix_that_shows_nothing_is_none(tmp_path: Path) -> None:
    _film(tmp_path / "film.mp4", (0, 0, 0, 0))
    assert next(iter_decoded(tmp_path / "film.mp4")).orientation == UPRIGHT


def test_a_mirrored_video_from_the_field(shared_dir: Path) -> None:
    path = shared_dir / "media/field/mirrored/hflip.mp4"
    with av.open(str(path)) as container:
        coded = next(container.decode(video=0)).to_ndarray(format="rgb24")
    _assert_like(next(iter_frames(path))[1], coded[:, ::-1])
