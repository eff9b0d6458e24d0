"""Videos with transparency are shown over white, as images are: what they hide is seen nowhere."""

import subprocess
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from tasks.clips.from_params import frames_from_params
from tasks.clips.reading import iter_decoded
from tasks.clips.video_io import iter_frames
from tasks.errors import ItemError
from tests.field_media import VIDEO_KINDS, add_film, clips_in, mux

WIDTH, HEIGHT = 96, 64
SEEN, HIDDEN, WHITE = (30, 60, 200), (220, 30, 30), (255, 255, 255)
# Codec, pixel format that is coded, options.
FILMS = {
    "film-vp9.webm": ("libvpx-vp9", "yuva420p", {"crf": "10", "b:v": "0", "cpu-used": "8", "deadline": "realtime"}),
    "film-vp8.webm": ("libvpx", "yuva420p", {"crf": "10", "b:v": "2M", "auto-alt-ref": "0"}),
    "film-png.mov": ("png", "rgba", {}),
    "film-prores.mov": ("prores_ks", "yuva444p10le", {"profile": "4444"}),
    "film-qtrle.mov": ("qtrle", "argb", {}),
    "film-ffv1.mkv": ("ffv1", "yuva420p", {}),
}  # fmt: skip


def _picture(half_alpha: int = 128) -> np.ndarray:
    """RGBA: a third that hides its colour, a third that shows half of it, a third that shows all."""
    picture = np.empty((HEIGHT, WIDTH, 4), np.uint8)
    picture[:, :32] = (*HIDDEN, 0)
    picture[:, 32:64] = (*SEEN, half_alpha)
    picture[:, 64:] = (*SEEN, 255)
    return picture


def _film(path: Path, picture: np.ndarray) -> None:
    codec, pix_fmt, options = FILMS[path.name]
    with av.open(str(path), "w") as container:
        stream = add_film(container, codec, (WIDTH, HEIGHT), pix_fmt, **options)
        mux(container, stream, [picture] * 20, "rgba")


@pytest.mark.parametrize("name", FILMS)
def test_what_is_transparent_is_white(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    _film(path, _picture())
    half = (np.array(SEEN) * 128 + 255 * 127) / 255
    for kind in VIDEO_KINDS:
        (clip,) = clips_in(path, kind, width=WIDTH, height=HEIGHT)
        for left, colour in ((8, WHITE), (40, half), (72, SEEN)):
            part = clip.frames_nhwc[:, 8:-8, left : left + 16].astype(int)
            assert np.abs(part - np.array(colour)).max() < 16, (left, kind)
        assert np.array_equal(frames_from_params(str(path), clip.params_json), clip.frames_nhwc)


@pytest.mark.parametrize("name", FILMS)
def test_frames_after_a_seek_are_the_same(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    _film(path, _picture())
    linear = [(decoded.time_s, decoded.frame.to_ndarray(format="rgb24")) for decoded in iter_decoded(path)]
    for start_s in (0.5, 1.3, 2.2):
        sought = [
            (decoded.time_s, decoded.frame.to_ndarray(format="rgb24"))
            for decoded in iter_decoded(path, start_s)
        ]
        assert sought[0][0] <= start_s
        for (time_s, frame), (linear_s, linear_frame) in zip(sought, linear[-len(sought) :], strict=True):
            assert time_s == linear_s and np.array_equal(frame, linear_frame)


@pytest.mark.parametrize("name", FILMS)
def test_an_opaque_video_is_what_it_was(tmp_path: Path, name: str) -> None:
    """A channel of transparency that hides nothing changes no bit: libav's own frames, scaled as ever."""
    path = tmp_path / name
    picture = _picture()
    picture[..., 3] = 255
    _film(path, picture)
    with av.open(str(path)) as container:
        coded = [frame for frame in container.decode(video=0)]
    for decoded, frame in zip(iter_decoded(path), coded, strict=True):
        assert decoded.frame.width == frame.width
        assert np.array_equal(decoded.frame.to_ndarray(format="gbrp"), frame.to_ndarray(format="gbrp"))


def test_an_alpha_video_from_the_field(shared_dir: Path) -> None:
    path = shared_dir / "media/field/alpha/alpha.webm"
    for _, frame in iter_frames(path):
        assert frame[:12].min() > 245 and frame[-12:].min() > 245 and frame[:, :40].min() > 245
        assert frame[38:58, 70:90].std() > 20  # the disc shows the film


@pytest.mark.parametrize("name", ["film.mp4", "film.mov", "film.mkv", "film.ts"])
def test_hevc_with_alpha_is_named(tmp_path: Path, name: str) -> None:
    """Its second layer is not read, and the first one shows what the other hides."""
    Image.fromarray(_picture(), "RGBA").save(tmp_path / "picture.png")
    how = "-v error -loop 1 -framerate 8 -i picture.png -frames:v 8 -c:v libx265 -x265-params log-level=none"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), *how.split(), "-pix_fmt"]
    subprocess.run([*command, "yuva420p", name], cwd=tmp_path, check=True)
    for kind in VIDEO_KINDS:
        with pytest.raises(ItemError, match=rf"^{name}: is HEVC with alpha, whose transparency is not read"):
            clips_in(tmp_path / name, kind)
    subprocess.run([*command, "yuv420p", "plain-" + name], cwd=tmp_path, check=True)
    assert len(list(iter_frames(tmp_path / ("plain-" + name)))) == 8
