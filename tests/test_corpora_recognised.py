"""What a file holds decides whose it is, whatever its name says; what nobody looks at is counted by suffix."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.clips.from_source import clips_of
from tasks.clips.settings import ClipSettings
from tasks.clips.video_io import encode
from tasks.corpora.corpus import Corpus
from tasks.corpora.look import look_at
from tasks.corpora.readers import read_sources
from tasks.corpora.recognised import holds
from tasks.tiny.world.drawing import Scene, draw_clip
from tests.heif_files import heic

FILM = draw_clip(Scene("red", "circle", "up"), np.random.default_rng(0), 16)
STILLS = ("PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "JPEG2000")


def _still(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(FILM[0]).save(buffer, kind)
    return buffer.getvalue()


def _moving(kind: str) -> bytes:
    buffer = io.BytesIO()
    pictures = [Image.fromarray(frame) for frame in FILM]
    pictures[0].save(buffer, kind, save_all=True, append_images=pictures[1:], duration=125)
    return buffer.getvalue()


def _film(container_format: str) -> bytes:
    buffer = io.BytesIO()
    codec = {"flv": "flv", "asf": "wmv2", "ogv": "libvpx", "webm": "libvpx", "mpeg": "mpeg2video"}
    encode(buffer, FILM, 25.0, codec.get(container_format, "libx264"), container_format=container_format)
    return buffer.getvalue()


def _corpus(folder: Path, kind: str, **how: str) -> Corpus:
    return Corpus.model_validate(
        {"name": "c", "kind": kind, "format": "folder", "path": str(folder), "licence": "CC0-1.0"} | how
    )


def _found(folder: Path, kind: str) -> set[str]:
    return {source.uri for source in read_sources(_corpus(folder, kind), captions_needed=False)}


@pytest.mark.parametrize("kind", STILLS)
def test_still_images_are_told(kind: str) -> None:
    assert holds(_still(kind)[:4096]) == "image"


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "AVIF"])
def test_animated_images_are_videos(kind: str) -> None:
    assert holds(_moving(kind)[:4096]) == "video"


@pytest.mark.parametrize(
    "kind", ["mp4", "mov", "matroska", "webm", "avi", "mpegts", "mpeg", "flv", "asf", "ogv"]
)
def test_videos_are_told(kind: str) -> None:
    assert holds(_film(kind)[:4096]) == "video"


def test_other_bytes_are_nothing() -> None:
    assert holds(heic(FILM[0])[:4096]) == "image"
    for head in (None, b"", b"words", b"%!PS-Adobe-3.0", b"#EXTM3U\n", bytes(500), b"ffconcat version 1.0\n"):
        assert holds(head) is None


def test_a_corpus_takes_what_holds_its_kind(tmp_path: Path) -> None:
    files = {
        "film.jpg": _film("mp4"), "moving.webp": _moving("WEBP"), "moving.png": _moving("PNG"),
        "moving.avif": _moving("AVIF"), "film.mp4": _film("mp4"), "film.gif": _film("mp4"), "both.gif": _moving("GIF"),
        "poster.png": _still("PNG"), "poster.webp": _still("WEBP"), "photo.jpe": _still("JPEG"), "photo.mp4x": b"x",
        "photo.jfif": _still("JPEG"), "phone.heic": heic(FILM[0]), "phone.jpg": heic(FILM[0]),
        "photo.mov": _still("JPEG"),
        "note.docx": b"PK", "raw.nef": b"II*\0", "readme": b"words", "photo.txt": b"words",
    }  # fmt: skip
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    videos = {
        "film.jpg",
        "moving.webp",
        "moving.png",
        "moving.avif",
        "film.mp4",
        "film.gif",
        "both.gif",
        "photo.mov",
    }
    assert _found(tmp_path, "short-videos") == videos
    images = set(files) - {"film.mp4", "photo.mp4x", "note.docx", "raw.nef", "readme", "photo.txt"}
    assert _found(tmp_path, "images") == images
    (look,) = look_at([_corpus(tmp_path, "images")], captions_needed=False)
    assert look.ignored == {".docx": 1, ".nef": 1, "no suffix": 1, ".mp4x": 1, ".mp4": 1}
    (look,) = look_at([_corpus(tmp_path, "short-videos")], captions_needed=False)
    assert look.ignored[".png"] == look.ignored[".webp"] == look.ignored[".jpg"] == 1


@pytest.mark.parametrize("name", ["film.jpg", "film.gif", "moving.webp", "moving.png", "moving.avif"])
def test_and_the_film_in_it_is_shown(tmp_path: Path, name: str) -> None:
    moving = name.startswith("moving")
    kind = {"webp": "WEBP", "png": "PNG", "avif": "AVIF"}.get(name.split(".")[1], "")
    (tmp_path / name).write_bytes(_moving(kind) if moving else _film("mp4"))
    (tmp_path / (name.split(".")[0] + ".txt")).write_text("a red circle")
    (source,) = read_sources(_corpus(tmp_path, "short-videos"))
    (clip,) = clips_of(source, ClipSettings(fps=8.0 if moving else 12.5))
    assert (
        np.abs(clip.frames_nhwc[0].astype(int) - FILM[round(clip.start_s * (8 if moving else 25))]).mean()
        < 12
    )


def test_suffixes_from_the_field(shared_dir: Path) -> None:
    assert _found(shared_dir / "media/field/suffixes", "images") == {"p.heic", "q.jpg", "r2.jpe"}
