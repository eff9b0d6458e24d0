"""Small whole inputs, one for each reader: a corpora file, the corpus that it names, and the file to damage."""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pylibjxl
from PIL import Image, ImageCms

from tasks.clips.video_io import encode
from tasks.tiny.world.drawing import draw_clip, draw_image, random_scene
from tests.heif_files import heic
from tests.jpeg_xl_files import jpeg_xl

CORPORA = "corpora.toml"
_FPS = 8.0
_SIZE = 32

Files = dict[str, bytes]


@dataclass(frozen=True)
class Input:
    """The files of a corpus with its corpora file, by their paths, and which of them is damaged."""

    name: str
    files: Files
    target: str


@cache
def whole_inputs() -> tuple[Input, ...]:
    """Returns the inputs in a fixed order; every one of them gives rows as it is."""
    makers: tuple[Callable[[], Iterator[Input]], ...] = (
        _corpora_files,
        _tables,
        _side_cars,
        _archives,
        _images,
        _videos,
    )
    return tuple(found for maker in makers for found in maker())


def _corpora_file(**table: object) -> bytes:
    lines = [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    return "\n".join(["[[corpus]]", 'name = "c"', 'licence = "CC0-1.0"', *lines, ""]).encode()


def _input(name: str, files: Files, target: str, kind: str = "images", **table: object) -> Input:
    table = {"kind": kind, "format": "folder", "path": "media"} | table
    inside = {f"media/{path}": content for path, content in files.items()}
    return Input(name, {CORPORA: _corpora_file(**table)} | inside, f"media/{target}")


def _corpora_files() -> Iterator[Input]:
    files = {"a.png": _picture("PNG"), "a.txt": b"a red circle"}
    whole = _input("corpora file", files, "a.png")
    yield Input(whole.name, whole.files, CORPORA)


def _tables() -> Iterator[Input]:
    media = {"a.png": _picture("PNG"), "b c.png": _picture("PNG", 1)}
    tsv = 'file\tcaption\tlicence\na.png\ta red circle\tCC0-1.0\nb c.png\tsix 6" circles, caf\u00e9\tCC-BY-4.0\n'
    csv = 'file,caption,start_s,end_s\na.png,"a ""red"" circle,\nat rest",,\nb c.png,two squares,0,1.5\n'
    yield _input("manifest.tsv", media | {"manifest.tsv": tsv.encode()}, "manifest.tsv")
    yield _input("manifest.csv", media | {"manifest.csv": csv.encode("utf-8-sig")}, "manifest.csv")
    path = {"format": "csv", "path": "media/list.csv"}
    yield _input("table.csv", media | {"list.csv": csv.encode("utf-16")}, "list.csv", **path)
    rows = [{"path": "a.png", "text": "a red circle"}, {"path": "b c.png", "text": ["two", "squares"]}]
    lines = "\n".join(json.dumps(row) for row in rows).encode()
    yield _input(
        "table.jsonl", media | {"list.jsonl": lines}, "list.jsonl", format="jsonl", path="media/list.jsonl"
    )
    metadata = (
        b'{"file_name": "a.png", "text": "a red circle"}\n{"file_name": "b c.png", "text": "two squares"}\n'
    )
    yield _input("metadata.jsonl", media | {"metadata.jsonl": metadata}, "metadata.jsonl")
    captions = json.dumps({"a.png": "a red circle", "b c.png": ["two squares"]}).encode()
    yield _input("captions.json", media | {"captions.json": captions}, "captions.json")
    spans = "video,caption,timestamp\na.mp4,\"['a red circle', 'moving']\",\"[['0:00:00.0', '0:00:01.5'], [1.5, 3]]\"\n"
    panda = {"a.mp4": _video("libx264", "mp4"), "list.csv": spans.encode()}
    yield _input("lists in cells", panda, "list.csv", "long-videos", **path)
    cells = {"image": [_picture("PNG"), _picture("JPEG")], "text": ["a red circle", "two squares"]}
    yield _input("bytes.parquet", {"a.parquet": _parquet(cells)}, "a.parquet", format="parquet")
    structs = {"image": [{"bytes": _picture("PNG"), "path": "x.png"}], "caption": ["a red circle"]}
    yield _input("structs.parquet", {"a.parquet": _parquet(structs)}, "a.parquet", format="parquet")
    videos = {f"Class/{name}.avi": _video("mpeg4", "avi") for name in "ab"}
    saved = _saved_dataset()
    name = next(name for name in saved if name.endswith(".arrow"))
    yield _input("saved dataset", saved, name, format="hf")
    lists = {
        "ucfTrainTestlist/trainlist01.txt": b"Class/a.avi 1\r\n",
        "ucfTrainTestlist/testlist01.txt": b"Class/b.avi\r\n",
    }
    target = "ucfTrainTestlist/trainlist01.txt"
    yield _input("split list", videos | lists, target, "short-videos", format="class-folders", split_fold=1)


def _saved_dataset() -> Files:
    """What the library `datasets` writes with `save_to_disk`."""
    features = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
    pictures = {"a red circle": _picture("PNG"), "two squares": _picture("PNG", 1)}
    rows = [{"image": {"bytes": content, "path": None}, "text": text} for text, content in pictures.items()]
    with tempfile.TemporaryDirectory() as folder:
        datasets.Dataset.from_list(rows, features).save_to_disk(folder)
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def _parquet(columns: dict[str, list]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def _side_cars() -> Iterator[Input]:
    picture, film = _picture("PNG"), _video("libx264", "mp4")
    words = "a dog\u2019s red ball on caf\u00e9 stairs"
    for encoding in ("utf-8", "utf-16", "cp1252"):
        files = {"a.png": picture, "a.txt": words.encode(encoding)}
        yield _input(f"{encoding} .txt", files, "a.txt")
    yield _input(".caption", {"a.png": picture, "a.caption": words.encode()}, "a.caption")
    fields = json.dumps({"caption": words, "width": _SIZE, "tags": ["a", "b"]}).encode()
    yield _input(".json", {"a.png": picture, "a.json": fields}, "a.json")
    srt = (
        "1\r\n00:00:00,000 --> 00:00:01,500\r\n{\\an8}<i>a red circle</i>\r\n\r\n"
        "2\r\n00:00:01,500 --> 00:00:03,000\r\nmoving right\r\n"
    )
    vtt = (
        "WEBVTT\n\nSTYLE\n::cue { color: lime }\n\nNOTE said\n\nc1\n00:00.000 --> 00:03.000 align:start\n"
        "<v Ann>a red &amp; blue <00:00:01.000><c>circle</c>\n"
    )
    ass = (
        "[Script Info]\nScriptType: v4.00+\n\n[Events]\n"
        "Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
        "Dialogue: 0,0:00:00.00,0:00:03.00,Default,,0,0,0,,{\\an8}a red circle\\Nmoving\n"
    )
    for suffix, text in ((".srt", srt), (".vtt", vtt), (".ass", ass)):
        files = {"a.mp4": film, "a" + suffix: text.encode()}
        yield _input(suffix, files, "a" + suffix, "long-videos")


def _archives() -> Iterator[Input]:
    members = {
        "0001.png": _picture("PNG"),
        "0001.txt": b"a red circle",
        "0002.jpg": _picture("JPEG"),
        "0002.json": json.dumps({"caption": "two squares", "width": _SIZE}).encode(),
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.pax_headers = {"comment": "caf\u00e9"}
            tar.addfile(member, io.BytesIO(content))
    yield _input("shard.tar", {"a.tar": buffer.getvalue()}, "a.tar", format="webdataset")


def _images() -> Iterator[Input]:
    formats = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "JPEG2000")
    pictures = {format_.lower(): _picture(format_) for format_ in formats} | {"heic": _heic()}
    # As scans, cameras and animations have them, by other ways through a reader.
    pictures |= {
        "png of 16 bits": _deep_picture(),
        "tiff of floats": _float_picture(),
        "cmyk jpeg": _printed_picture(),
        "jpeg xl": pylibjxl.encode(np.asarray(_pictures(1)[0])),
        "boxed jpeg xl": jpeg_xl("turned"),
    }
    for name, content in pictures.items():
        yield _input(f"{name} image", {"a.img.png": content, "a.img.txt": b"a red circle"}, "a.img.png")
    for format_ in ("GIF", "WEBP", "PNG", "AVIF"):
        files = {"a.gif": _animation(format_), "a.txt": b"a red circle"}
        yield _input(f"animated {format_.lower()}", files, "a.gif", "short-videos")


def _videos() -> Iterator[Input]:
    for codec, container, pix_fmt in (
        ("libx264", "mp4", "yuv420p"),
        ("mpeg4", "avi", "yuv420p"),
        ("libx264", "matroska", "yuv420p"),
        ("libvpx-vp9", "webm", "yuv420p"),
        ("libx264", "mpegts", "yuv420p"),
        ("gif", "gif", "rgb8"),
    ):
        suffix = {"matroska": "mkv", "mpegts": "ts"}.get(container, container)
        for kind in ("short-videos", "long-videos"):
            files = {f"a.{suffix}": _video(codec, container, pix_fmt), "a.txt": b"a red circle"}
            yield _input(f"{suffix} of {kind}", files, f"a.{suffix}", kind)


@cache
def _picture(format_: str, seed: int = 0) -> bytes:
    rng = np.random.default_rng(seed)
    buffer = io.BytesIO()
    Image.fromarray(draw_image(random_scene(rng, moving=False), rng, _SIZE)).save(buffer, format_)
    return buffer.getvalue()


def _saved(image: Image.Image, format_: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def _pictures(count: int) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(frame) for frame in draw_clip(random_scene(rng), rng, count)]


def _heic() -> bytes:
    return heic(np.asarray(_pictures(1)[0]))


def _deep_picture() -> bytes:
    ramp_hw = np.linspace(0, 65535, _SIZE * _SIZE).reshape(_SIZE, _SIZE)
    return _saved(Image.fromarray(ramp_hw.astype(np.uint16)), "PNG")


def _float_picture() -> bytes:
    ramp_hw = np.linspace(0, 1, _SIZE * _SIZE).reshape(_SIZE, _SIZE)
    return _saved(Image.fromarray(ramp_hw.astype(np.float32)), "TIFF")


def _printed_picture() -> bytes:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return _saved(_pictures(1)[0].convert("CMYK"), "JPEG", icc_profile=profile)


def _animation(format_: str) -> bytes:
    first, *others = _pictures(12)
    return _saved(first, format_, save_all=True, append_images=others, duration=125)


@cache
def _video(codec: str, container: str, pix_fmt: str = "yuv420p") -> bytes:
    """Three drawn shots of a second each."""
    rng = np.random.default_rng(0)
    frames_nhwc = np.concatenate([draw_clip(random_scene(rng), rng, 8) for _ in range(3)])
    options = {"libx264": {"g": "8", "bf": "2", "threads": "1"}, "libvpx-vp9": {"deadline": "realtime"}}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film"
        encode(
            path, frames_nhwc[:, ::2, ::2], _FPS, codec, pix_fmt, container, options=options.get(codec, {})
        )
        return path.read_bytes()
