"""A file over the limits of the profile gives no clip, and says by name which limit it is over and by how much."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from flows.profile import load_profile
from storage.dataset.clip_dataset import ClipDataset
from tasks.clips.from_source import clips_of
from tasks.clips.limits import LimitSettings
from tasks.clips.settings import ClipSettings
from tasks.clips.video_io import encode
from tasks.errors import ItemError
from tasks.ingest.decoding import decode_source
from tasks.ingest.items import DecodeStep
from tests.build_world import all_rows, build, keep_all
from tests.field_media import VIDEO_KINDS, source_of

ROOT = Path(__file__).resolve().parents[1]
FRAMES = 40  # 5 s at 8 a second


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    pixels = np.random.default_rng(0).integers(0, 256, (FRAMES, 64, 96, 3), np.uint8)
    for name, container_format in (("film.mp4", "mp4"), ("film.mkv", "matroska"), ("film.ts", "mpegts")):
        encode(folder / name, pixels, 8.0, container_format=container_format)
    pictures = [Image.fromarray(frame) for frame in pixels]
    pictures[0].save(folder / "film.webp", save_all=True, append_images=pictures[1:], duration=125)
    pictures[0].save(folder / "image.png")
    return folder


def _clips(path: Path, kind: str, **limits: Any) -> list[Any]:
    return list(clips_of(source_of(path, kind), ClipSettings(), LimitSettings(**limits)))


@pytest.mark.parametrize("kind", VIDEO_KINDS)
@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.ts", "film.webp"])
@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"max_pixels": 6143}, r"6144 pixels a frame, over the limit max_pixels = 6143"),
        ({"max_frames": 39}, r"40 frames, over the limit max_frames = 39"),
        ({"max_seconds": 4.5}, r"(5|5\.\d+|4\.\d+) s, over the limit max_seconds = 4\.5"),
    ],
)
def test_a_video_over_a_limit_is_refused(folder: Path, name: str, limits: dict, told: str, kind: str) -> None:
    with pytest.raises(ItemError, match=rf"{name}: {told} of \[limits\]") as caught:
        _clips(folder / name, kind, **limits)
    assert caught.value.stage == "limits"


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.webp"])
def test_a_video_at_its_limits_goes_in(folder: Path, name: str) -> None:
    assert _clips(
        folder / name, "short-videos", max_pixels=6144, max_frames=40, max_seconds=5.2, max_memory_mb=2000
    )


def test_images_have_pixels_and_memory(folder: Path) -> None:
    for limits, told in (
        ({"max_pixels": 6143}, r"6144 pixels, over the limit max_pixels = 6143"),
        ({"max_memory_mb": 9}, r"10 MB of memory to decode, over the limit max_memory_mb = 9"),
    ):
        with pytest.raises(ItemError, match=rf"image\.png: {told} of \[limits\]"):
            _clips(folder / "image.png", "images", **limits)
    assert _clips(
        folder / "image.png", "images", max_pixels=6144, max_memory_mb=10, max_frames=1, max_seconds=0.1
    )


def test_a_decoder_that_takes_too_much_memory_is_stopped(tmp_path: Path) -> None:
    """A frame of 12 million pixels is 18 MB, and a decoder keeps several.

    It decodes in a process of its own: memory that this one has freed and not given back would be taken first.
    """
    path = tmp_path / "wide.mp4"
    frame = np.zeros((3000, 4000, 3), np.uint8)
    encode(path, (frame for _ in range(6)), 8.0, options={"preset": "ultrafast", "qp": "40"})
    told = r"wide\.mp4: \d+ MB of memory in its decoder, over the limit max_memory_mb = 5 of"
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        decoded = process.submit(_clips, path, "long-videos", max_memory_mb=5)
        with pytest.raises(ItemError, match=told):
            decoded.result()


def test_a_build_s_decoder_says_so_in_its_last_step(folder: Path) -> None:
    limits = LimitSettings(max_frames=10)
    steps = list(
        decode_source(source_of(folder / "film.mp4", "short-videos"), ClipSettings(), (), (), limits)
    )
    last = steps[-1]
    assert isinstance(last, DecodeStep) and last.failure is not None
    assert last.failure.stage == "limits" and "max_frames = 10" in last.failure.error


def test_a_build_by_a_profile_file_with_limits(folder: Path, tmp_path: Path) -> None:
    """From the file that a user writes to the rows that say why."""
    text = (ROOT / "infra/profiles/tiny/profile.toml").read_text()
    for name in ("model", "clip"):
        text = text.replace(f'"./{name}"', f'"{ROOT}/infra/profiles/tiny/{name}"')
    (tmp_path / "mine.toml").write_text(f"{text}\n[limits]\nmax_pixels = 6000\n")
    media = tmp_path / "photos"
    media.mkdir()
    for name, size in (("large.png", (96, 64)), ("small.png", (90, 64))):
        Image.effect_noise(size, 60).convert("RGB").save(media / name)
        (media / name).with_suffix(".txt").write_text("a red circle")
    (tmp_path / "corpora.toml").write_text(
        '[[corpus]]\nname = "c"\nkind = "images"\nformat = "folder"\npath = "photos"\nlicence = "CC0-1.0"\n'
    )
    recipe = keep_all(load_profile(str(tmp_path / "mine.toml")))
    summary = build(tmp_path / "corpora.toml", tmp_path / "dataset", recipe)
    assert (summary.read, summary.quarantined_by_stage) == (2, {"limits": 1})
    info = ClipDataset.open(tmp_path / "dataset").info()
    (row,) = info["quarantine"]
    assert (row["source_uri"], row["stage"]) == ("large.png", "limits")
    assert row["error"] == "large.png: 6144 pixels, over the limit max_pixels = 6000 of [limits]"
    assert {clip["source_uri"] for clip in all_rows(tmp_path / "dataset").values()} == {"small.png"}


def test_limits_are_a_section_of_the_profile(tmp_path: Path) -> None:
    assert load_profile("tiny").recipe().limits == LimitSettings()
    for wrong in ({"max_frames": 0}, {"max_seconds": -1}, {"max_size": 3}):
        with pytest.raises(ValidationError):
            LimitSettings.model_validate(wrong)
