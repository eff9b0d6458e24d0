"""The odd inputs of the shared media, as one build: the right pixels in the dataset's rows, and no file forgotten."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from flows.profile import Profile
from tasks.clips.from_params import frames_from_params
from tasks.clips.video_io import decode_bytes
from tasks.ingest.workers import Workers
from tests.build_world import all_rows, build, keep_all
from tests.test_field_words import FIELD, TABLE

VIDEOS = (
    "mirrored/hflip.mp4",
    "streams/coverfirst.mkv",
    "streams/previewfirst.mp4",
    "alpha/alpha.webm",
    "interlaced/inter.mpg",
)
RAMPS = {
    "deep-images/grey16.png": 1.0,
    "deep-images/grey16_trns.png": 1.0,
    "deep-images/f32_01.tif": 1.0,
    "deep-images/i32.tif": 1.0,
}
WHOLE = ("suffixes/p.heic", "suffixes/q.jpg", "suffixes/r2.jpe")
IN_WORDS = ("encodings", "hf-folders", "subtitles", "tables", "webdataset")
"""The folders of which `test_field_words` reads the words."""


def _coded(path: Path, stream: str = "0:v:0") -> np.ndarray:
    """The frames of a stream as they are coded, (n, 64, 64, 3) of 0..255, scaled and cropped as clips are."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-noautorotate", "-i", path, "-map", stream]
    fitted = "scale=64:64:force_original_aspect_ratio=increase:flags=bicubic,crop=64:64"
    command += ["-vf", fitted, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    pixels = subprocess.run([str(word) for word in command], check=True, capture_output=True).stdout
    return np.frombuffer(pixels, np.uint8).reshape(-1, 64, 64, 3).astype(int)


def test_the_pixels_of_the_field_folder(tmp_path: Path, workers: Workers, tiny_profile: Profile) -> None:
    if not FIELD.exists():
        pytest.skip("../shared/media/field is not here")
    for kind, names in (("short-videos", VIDEOS), ("images", (*RAMPS, *WHOLE))):
        for name in names:
            copy = tmp_path / kind / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(FIELD / name, copy)
            copy.with_suffix(".txt").write_text(f"words of {name}")
    tables = [(kind, kind, "folder", kind) for kind in ("short-videos", "images")]
    (tmp_path / "corpora.toml").write_text("".join(TABLE.format(*table) for table in tables))
    summary = build(tmp_path / "corpora.toml", tmp_path / "d", keep_all(tiny_profile), workers=workers)
    rows = {row["source_uri"]: row for row in all_rows(tmp_path / "d").values()}
    assert set(rows) == {*VIDEOS, *RAMPS, *WHOLE}
    assert (summary.quarantined, summary.unread) == (0, {})
    assert {uri: row["caption"] for uri, row in rows.items()} == {uri: f"words of {uri}" for uri in rows}
    frames = {uri: _frames(row, tmp_path).astype(int) for uri, row in rows.items()}

    mirrored = frames["mirrored/hflip.mp4"]
    assert _nearest(mirrored[0], _coded(FIELD / "mirrored/hflip.mp4")[:, :, ::-1]) < 6
    for name in ("streams/coverfirst.mkv", "streams/previewfirst.mp4"):
        red = frames[name][..., 0] - frames[name][..., 1:].max(axis=-1)
        assert (red > 100).mean() < 0.3, name
        assert _nearest(frames[name][0], _coded(FIELD / name, "0:v:1")) < 6, name
    assert frames["alpha/alpha.webm"][:, :4, :4].min() > 245
    tape = frames["interlaced/inter.mpg"]
    assert rows["interlaced/inter.mpg"]["interlaced"] == 1.0
    lines = tape.mean(axis=-1)
    teeth = np.minimum(np.abs(lines[:, 1:-1] - lines[:, :-2]), np.abs(lines[:, 1:-1] - lines[:, 2:])) > 30
    assert (teeth & (np.abs(lines[:, 2:] - lines[:, :-2]) < 15)).mean() < 0.01

    for name in RAMPS:
        # What is shown of the picture, drawn of the ramp that it should be.
        with Image.open(FIELD / name) as image:
            size = image.size
        ramp = np.tile(np.linspace(0, 255, size[0]).round().astype(np.uint8), (size[1], 1))
        Image.fromarray(ramp).convert("RGB").save(tmp_path / "ramp.png")
        right = frames_from_params(tmp_path / "ramp.png", rows[name]["params"])
        assert np.abs(frames[name] - right).max() <= 2, name
    for name in WHOLE[:2]:
        assert (rows[name]["source_width"], rows[name]["source_height"]) == (1600, 1200)


def test_no_file_of_the_field_folder_is_forgotten() -> None:
    if not FIELD.exists():
        pytest.skip("../shared/media/field is not here")
    names = [path.relative_to(FIELD) for path in FIELD.rglob("*") if path.is_file()]
    others = {str(name) for name in names if name.parts[0] not in IN_WORDS}
    assert others == {"README.md", *VIDEOS, *RAMPS, *WHOLE}


def _nearest(frame: np.ndarray, coded: np.ndarray) -> float:
    """How far a frame is from the one that is most like it, in grey levels."""
    return float(np.abs(coded - frame).mean(axis=(1, 2, 3)).min())


def _frames(row: dict[str, Any], folder: Path) -> np.ndarray:
    """The frames of a row, uint8 (n, 64, 64, 3): of videos as they are stored, of images made again."""
    if row["video"]:
        return decode_bytes(row["video"])[0]
    return frames_from_params(folder / "images" / row["source_uri"], row["params"])
