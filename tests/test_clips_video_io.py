"""Video in and out: sizes, rotation, colours and times are right, and what is broken is an ItemError."""

import io
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tasks.clips.ffmpeg import write_mp4
from tasks.clips.reading import frame_times, probe
from tasks.clips.video_io import decode_bytes, encode, encode_lossless_ish, iter_frames
from tasks.errors import ItemError
from tasks.tiny.world.drawing import Scene, draw_clip

SHARED_MEDIA = Path(__file__).parents[1].parent / "shared/media"


def _clip(num_frames: int = 8) -> np.ndarray:
    return draw_clip(Scene("orange", "triangle", "left"), np.random.default_rng(5), num_frames)


def test_a_clip_survives_the_blob_nearly_unchanged() -> None:
    frames = _clip()
    decoded, fps = decode_bytes(encode_lossless_ish(frames, 8.0))
    assert decoded.shape == frames.shape and fps == 8.0
    error = decoded.astype(int) - frames
    assert 10 * np.log10(255**2 / np.mean(error**2)) > 44


@pytest.mark.parametrize("fps", [8.0, 25.0, 30000 / 1001])
def test_times_come_from_the_file(tmp_path: Path, fps: float) -> None:
    path = tmp_path / "clip.mp4"
    encode(path, _clip(10), fps)
    times = [time_s for time_s, _ in iter_frames(path)]
    assert np.allclose(times, np.arange(10) / fps, atol=1e-3)
    assert np.allclose(frame_times(path), times)
    info = probe(path)
    assert (info.width, info.height, info.codec) == (64, 64, "h264") and info.fps == pytest.approx(fps)
    assert info.duration_s == pytest.approx(10 / fps, abs=0.01)


def test_frames_cover_the_size_asked_for_and_are_cropped_at_the_centre(tmp_path: Path) -> None:
    wide = np.zeros((3, 64, 192, 3), np.uint8)
    wide[:, :, 64:128] = (230, 40, 40)
    encode(tmp_path / "wide.mp4", wide, 8.0, options={"crf": "5"})
    for width, height in ((64, 64), (32, 32), (128, 128)):
        for _, frame in iter_frames(tmp_path / "wide.mp4", width, height):
            assert frame.shape == (height, width, 3)
            inside = frame[4:-4, 4:-4].astype(int)
            assert np.abs(inside - [230, 40, 40]).max() < 12
    assert next(iter_frames(tmp_path / "wide.mp4"))[1].shape == (64, 192, 3)


@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
def test_rotation_metadata_is_honoured(tmp_path: Path, degrees: int) -> None:
    stored = np.zeros((64, 96, 3), np.uint8)
    stored[:32, :48] = (255, 255, 255)
    with av.open(str(tmp_path / "turned.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"crf": "5"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.set_display_rotation(degrees)
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(stored, format="rgb24")))
        container.mux(stream.encode())
    shown = np.rot90(stored, degrees // 90)
    _, frame = next(iter_frames(tmp_path / "turned.mp4"))
    assert frame.shape == shown.shape
    assert np.abs(frame.astype(int) - shown).mean() < 4
    _, cropped = next(iter_frames(tmp_path / "turned.mp4", 32, 48))
    assert cropped.shape == (48, 32, 3)


def test_ffmpeg_writes_what_ordinary_players_open(tmp_path: Path) -> None:
    frames = _clip()
    path = write_mp4(tmp_path / "deep/out.mp4", iter(frames), 8.0, (64, 64))
    assert [file.name for file in path.parent.iterdir()] == ["out.mp4"]
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # playable while it loads
    decoded = np.stack([frame for _, frame in iter_frames(path)])
    assert decoded.shape == frames.shape
    assert np.abs(decoded.astype(int) - frames).mean() < 4
    y, x = (np.argwhere(frames[4].max(axis=2) > 240).mean(axis=0)).astype(int)
    assert np.abs(decoded[4, y, x].astype(int) - frames[4, y, x]).max() < 16


def test_ffmpeg_leaves_nothing_behind_when_it_fails(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="even"):
        write_mp4(tmp_path / "odd.mp4", [], 8.0, (63, 64))
    with pytest.raises(ValueError, match="expected frames"):
        write_mp4(tmp_path / "other.mp4", [np.zeros((8, 8, 3), np.uint8)], 8.0, (64, 64))
    (tmp_path / "taken.mp4").mkdir()
    with pytest.raises(OSError):
        write_mp4(tmp_path / "taken.mp4", iter(_clip()), 8.0, (64, 64))
    assert [path.name for path in tmp_path.iterdir()] == ["taken.mp4"]


@pytest.mark.parametrize("suffix", ["mp4", "avi"])
def test_truncated_files_are_read_as_far_as_they_go_or_refused(tmp_path: Path, suffix: str) -> None:
    whole = tmp_path / f"whole.{suffix}"
    encode(whole, _clip(), 8.0, codec="mpeg4" if suffix == "avi" else "libx264", container_format=suffix)
    data = whole.read_bytes()
    for tenths in range(10):
        cut = tmp_path / f"cut.{suffix}"
        cut.write_bytes(data[: len(data) * tenths // 10])
        try:
            frames = list(iter_frames(cut, 64, 64))
        except ItemError as error:
            assert error.stage == "decode" and str(error).startswith(f"cut.{suffix}: ")
        else:
            assert len(frames) <= 8


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("This is no video.")
    # A playlist must not make the decoder open anything on the network.
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/secret.ts\n#EXT-X-ENDLIST\n")
    (tmp_path / "folder.mp4").mkdir()
    for name in ("text.mp4", "list.mp4", "folder.mp4", "gone.mp4"):
        for read in (probe, frame_times, lambda path: list(iter_frames(path))):
            with pytest.raises(ItemError) as caught:
                read(tmp_path / name)
            assert caught.value.stage == "decode" and "\n" not in str(caught.value)
    with pytest.raises(ItemError, match="file in memory"):
        decode_bytes(b"nothing")
    sound = io.BytesIO()
    with av.open(sound, "w", format="mov") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    (tmp_path / "sound.mp4").write_bytes(sound.getvalue())
    with pytest.raises(ItemError, match="holds no video"):
        probe(tmp_path / "sound.mp4")


def test_real_files_of_many_kinds_are_decoded() -> None:
    if not SHARED_MEDIA.exists():
        pytest.skip("../shared/media is not here")
    names = (
        "videos/carphone_pristine.mp4",
        "videos/decord_flipping_a_pancake.mkv",
        "research-only/v_SoccerJuggling_g23_c01.avi",
        "research-only/v_CricketShot_g04_c01_rgb.gif",
    )
    for name in names:
        path = SHARED_MEDIA / name
        times = []
        for time_s, frame in iter_frames(path, 64, 48):
            assert frame.shape == (48, 64, 3)
            times.append(time_s)
        assert np.allclose(times, frame_times(path), atol=0.04)
        assert len(times) / probe(path).fps == pytest.approx(times[-1] - times[0], abs=0.1)


def test_frames_may_change_their_size_on_the_way(tmp_path: Path) -> None:
    parts = []
    for side in (64, 96):
        frames = np.full((8, side, side, 3), side, np.uint8)
        encode(tmp_path / "part.ts", frames, 8.0, container_format="mpegts")
        parts.append((tmp_path / "part.ts").read_bytes())
    (tmp_path / "both.ts").write_bytes(b"".join(parts))
    shown = [frame for _, frame in iter_frames(tmp_path / "both.ts", 48, 32)]
    assert len(shown) == 16 and {frame.shape for frame in shown} == {(32, 48, 3)}
    assert [round(frame.mean() / 32) for frame in shown] == [2] * 8 + [3] * 8


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    Image.new("P", (8_000, 6_000)).save(tmp_path / "large.gif")
    with pytest.raises(ItemError, match=r"large\.gif") as caught:
        list(iter_frames(tmp_path / "large.gif", 64, 64))
    assert caught.value.stage == "decode"
    encode(tmp_path / "thin.mp4", [np.zeros((16, 8_192, 3), np.uint8)], 8.0)
    with pytest.raises(ItemError, match=r"thin\.mp4.* would be scaled"):
        list(iter_frames(tmp_path / "thin.mp4", 512, 512))


def test_a_frame_that_outgrows_its_header_is_refused(tmp_path: Path) -> None:
    """The size in a stream may change to one that takes gigabytes; a video as thin as a thread is one too."""
    parts = []
    for side in (64, 6016):
        frames = [np.zeros((side, side, 3), np.uint8)] * (8 if side == 64 else 1)
        path = tmp_path / "part.ts"
        encode(path, frames, 8.0, container_format="mpegts", options={"preset": "ultrafast", "qp": "50"})
        parts.append(path.read_bytes())
    (tmp_path / "grows.ts").write_bytes(b"".join(parts))
    shown = []
    with pytest.raises(ItemError, match=r"grows\.ts: cannot be decoded") as caught:
        shown += iter_frames(tmp_path / "grows.ts", 64, 64)
    assert caught.value.stage == "decode"
    assert all(frame.shape == (64, 64, 3) for _, frame in shown)
