"""A corpus as people have it who did not build this, and for each of its sources what is right.

Pictures have a known colour in each corner; a white bar moves from left to right and so tells the time. Films are made
by ffmpeg, everything else by hand.
"""

from __future__ import annotations

import json
import subprocess
import tarfile
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from PIL import Image

COLOURS = {
    "R": (200, 40, 40),
    "G": (40, 170, 40),
    "B": (40, 40, 200),
    "Y": (210, 200, 40),
    "M": (190, 40, 190),
    "C": (40, 190, 190),
    "W": (255, 255, 255),
    "K": (0, 0, 0),
}
SIDE_PX, FPS, FILM_S = 96, 24, 2.0
X264 = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "12", "-pix_fmt", "yuv420p", "-bf", "2")
X265 = ("-c:v", "libx265", "-preset", "ultrafast", "-crf", "10")
X265 += (
    "-x265-params",
    "log-level=none:pools=none:frame-threads=1",
    "-pix_fmt",
    "yuv420p10le",
    "-tag:v",
    "hvc1",
)


@dataclass(frozen=True)
class Right:
    """What is right of a source: its caption, the colours of its corners (of each shot of a film), its time's start.

    `first_s` is the time of its first frame, None where the bar says nothing.
    """

    captions: tuple[str, ...]
    corners: tuple[str, ...] = ("RGBY",)
    first_s: float | None = None
    split: str | None = None
    licence: str = "CC0-1.0"


@dataclass
class OutsideCorpus:
    """The corpora file, and by (corpus, source_uri) what is right of each source, or what its quarantine row says."""

    path: Path
    right: dict[tuple[str, str], Right]
    refused: dict[tuple[str, str], str]
    passed_by: dict[str, int]


def picture(corners: str = "RGBY", width: int = SIDE_PX, height: int = SIDE_PX) -> np.ndarray:
    """Four quarters of these colours, uint8 (h, w, 3)."""
    shown = np.empty((height, width, 3), np.uint8)
    halves = slice(None, height // 2), slice(height // 2, None)
    sides = slice(None, width // 2), slice(width // 2, None)
    for number, letter in enumerate(corners):
        shown[halves[number // 2], sides[number % 2]] = COLOURS[letter]
    return shown


def bar_at(time_s: float) -> float:
    """Where the bar's middle is at a time, as a part of the width."""
    return 0.1 + 0.35 * time_s


def film(times_s: Sequence[float], corners: str = "RGBY") -> list[np.ndarray]:
    """Pictures with the bar, at these times."""
    frames = []
    for time_s in times_s:
        shown = picture(corners)
        shown[SIDE_PX * 3 // 8 : SIDE_PX * 5 // 8] = 0
        left = round((bar_at(time_s) - 0.04) * SIDE_PX)
        shown[SIDE_PX * 3 // 8 : SIDE_PX * 5 // 8, left : left + round(0.08 * SIDE_PX)] = 255
        frames.append(shown)
    return frames


def make(root: Path) -> OutsideCorpus:
    """Writes the corpus below a folder."""
    corpus = OutsideCorpus(root / "corpora.toml", {}, {}, {})
    tables = []
    for name, kind, layout, place, maker in (
        ("phone", "short-videos", "folder", "phone", _phone),
        ("scans", "images", "folder", "scans", _scans),
        ("films", "long-videos", "folder", "films", _films),
        ("excel", "images", "csv", "excel/Liste.csv", _excel),
        ("hub", "images", "folder", "hub", _hub),
        ("mac", "images", "webdataset", "mac/Archive.tar", _mac),
    ):
        folder = root / place.split("/")[0]
        folder.mkdir()
        maker(corpus, folder)
        tables.append(
            f'[[corpus]]\nname = "{name}"\nkind = "{kind}"\nformat = "{layout}"\n'
            f'path = "{place}"\nlicence = "CC0-1.0"\n'
        )
    corpus.path.write_text("\n".join(tables))
    return corpus


def _phone(corpus: OutsideCorpus, folder: Path) -> None:
    times_s = [number / FPS for number in range(round(FPS * FILM_S))]
    plain = film(times_s)

    def put(name: str, first_s: float | None = 0.0, corners: str = "RGBY") -> Path:
        (folder / name).with_suffix(".txt").write_text(f"a film called {name}", encoding="utf-8")
        words = " ".join(f"a film called {name}".split())
        corpus.right["phone", name] = Right((words,), (corners,), first_s)
        return folder / name

    lay: dict[str, tuple[list[str], Callable[[np.ndarray], np.ndarray]]] = {
        "IMG_0001.MOV": (["-display_rotation", "90"], lambda shown: np.rot90(shown, 3)),
        "IMG_0002.MOV": (["-display_rotation", "180"], lambda shown: np.rot90(shown, 2)),
        "IMG_0003.mp4": (["-display_hflip"], lambda shown: shown[:, ::-1]),
    }
    for name, (options, coded) in lay.items():
        _encode(folder / "coded.mkv", [coded(shown) for shown in plain], *X264)
        _ffmpeg(*options, "-i", folder / "coded.mkv", "-c", "copy", put(name))
    (folder / "coded.mkv").unlink()
    base = _encode(put("emoji 🐕 'quotes\" and\nlines.mp4"), plain, *X264)
    _encode(put("deep.MOV"), plain, *X265)
    _encode(put("slow.mp4"), film([number / 120 for number in range(240)]), *X264, rate=120)
    _encode(put("wide.mp4"), [shown[:, ::2] for shown in plain], "-vf", "setsar=2", *X264)
    _ffmpeg("-i", base, "-c", "copy", "-output_ts_offset", "10", put("late.mkv", 10.0))
    before = film([0.0] * (FPS // 2), "MMMM")
    _encode(folder / "whole.mkv", before + plain, *X264, "-g", "240")
    _ffmpeg("-ss", "0.5", "-i", folder / "whole.mkv", "-c", "copy", put("edited.mp4", None))
    (folder / "whole.mkv").unlink()
    veiled = [
        np.dstack([shown, np.where(np.arange(SIDE_PX) < 72, 255, 0)[None].repeat(SIDE_PX, 0)])
        for shown in plain
    ]
    vp9 = ("-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p", "-b:v", "2M", "-cpu-used", "8")
    _encode(
        put("veiled.webm", None, "RWBW"), [shown.astype(np.uint8) for shown in veiled], *vp9, pixels="rgba"
    )
    Image.fromarray(picture("MMMM")).save(folder / "cover.jpg")
    _ffmpeg(
        "-i", folder / "cover.jpg", "-i", base, "-map", "0", "-map", "1", "-c", "copy", put("covered.mkv")
    )
    for name, content, problem in (
        ("empty.mp4", b"", "it is empty (0 bytes)"),
        ("page.mp4", b"<html>403 Forbidden</html>", "it is a page of HTML or XML"),
        ("half.mp4", base.read_bytes()[:-400], "it is cut off"),
    ):
        (folder / name).write_bytes(content)
        (folder / name).with_suffix(".txt").write_text("words")
        corpus.refused["phone", name] = problem
    (folder / "unfinished.mp4.part").write_bytes(base.read_bytes())
    (folder / "IMG_0001.AAE").write_text("<plist/>")
    (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (folder / "._IMG_0001.MOV").write_bytes(b"\0\5\x16\7")
    corpus.passed_by |= {".part": 1, ".aae": 1, ".jpg": 1}


def _scans(corpus: OutsideCorpus, folder: Path) -> None:
    def put(name: str, corners: str = "RGBY") -> Path:
        (folder / name).with_suffix(".txt").write_bytes(f"a scan – {name}".encode("cp1252"))
        corpus.right["scans", name] = Right((f"a scan – {name}",), (corners,))
        return folder / name

    shown = Image.fromarray(picture())
    turned = Image.Exif()
    turned[274] = 6
    shown.rotate(90).save(put("turned.jpg"), quality=97, subsampling=0, exif=turned)
    palette = Image.fromarray(np.kron([[0, 1], [2, 1]], np.ones((48, 48))).astype(np.uint8), "P")
    palette.putpalette([*COLOURS["R"], *COLOURS["M"], *COLOURS["B"]] + [0] * 759)
    palette.save(put("palette.png", "RWBW"), transparency=1)
    shown.save(put("really_png.jpeg"), format="PNG")
    bits = Image.fromarray(np.kron([[1, 0], [0, 1]], np.ones((48, 48))).astype(bool))
    bits.save(put("fax.tif", "WKKW"), compression="group4")
    grey = np.kron([[0, 65535], [65535, 0]], np.ones((48, 48))).astype(np.uint16)
    Image.fromarray(grey).save(put("deep.png", "KWWK"))
    Image.fromarray(picture(width=9000, height=600)).save(put("panorama.jpg"), quality=95)
    (folder / "missing.jpg").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    (folder / "missing.txt").write_text("words")
    corpus.refused["scans", "missing.jpg"] = "it is a pointer of Git LFS"
    (folder / ".ipynb_checkpoints").mkdir()
    shown.save(folder / ".ipynb_checkpoints/turned-checkpoint.jpg")
    (folder / "raw.dng").write_bytes(b"II*\0")
    corpus.passed_by[".jpg"] = corpus.passed_by.get(".jpg", 0) + 1
    corpus.passed_by[".dng"] = 1


def _films(corpus: OutsideCorpus, folder: Path) -> None:
    scenes = ("RGBY", "CMWK", "YBGR")
    frames = [shown for corners in scenes for shown in film([number / 16 for number in range(24)], corners)]
    words = ("un carré – déjà vu", "second & last", "third")
    cues = [
        (
            f"00:00:0{int(1.5 * n)},{'500' if n % 2 else '000'}",
            f"00:00:0{int(1.5 * n + 1.4)},{'900' if n % 2 else '400'}",
        )
        for n in range(3)
    ]
    srt = "".join(
        f"{n + 1}\n{start} --> {end}\n<i>{{\\an8}}{text}</i>\n\n"
        for n, ((start, end), text) in enumerate(zip(cues, words, strict=True))
    )
    vtt = "WEBVTT\n\nNOTE no words\n\n" + srt.replace(",", ".").replace("&", "&amp;").replace(
        "{\\an8}", "<c.x>"
    )
    base = _encode(folder / "latin.mp4", frames, *X264, rate=16)
    (folder / "latin.srt").write_bytes(srt.encode("cp1252"))
    (folder / "wide.mp4").write_bytes(base.read_bytes())
    (folder / "wide.srt").write_bytes(b"\xff\xfe" + srt.replace("\n", "\r\n").encode("utf-16-le"))
    (folder / "site [x1].mp4").write_bytes(base.read_bytes())
    (folder / "site [x1].en.vtt").write_text(vtt, encoding="utf-8")
    (folder / "site [x1].de.vtt").write_text("WEBVTT\n\n00:00.000 --> 00:04.000\ndeutsch\n")
    _ffmpeg("-i", base, "-c", "copy", "-output_ts_offset", "10", "-f", "mpegts", folder / "broadcast.ts")
    (folder / "broadcast.srt").write_text(srt, encoding="utf-8")
    for name in ("latin.mp4", "wide.mp4", "site [x1].mp4", "broadcast.ts"):
        corpus.right["films", name] = Right(words, scenes)
    corpus.passed_by[".vtt"] = 1


def _excel(corpus: OutsideCorpus, folder: Path) -> None:
    Image.fromarray(picture()).save(folder / "a.png")
    (folder / "Bilder").mkdir()
    Image.fromarray(picture("CMYK")).save(folder / "Bilder" / unicodedata.normalize("NFD", "Straße über.png"))
    rows = [
        'a.png;"6"" Nagel; groß";MIT',
        "Bilder\\Straße über.png;Über den Wolken;",
        "fehlt.png;nicht da;",
        "a.png;nan;",
    ]
    table = "\r\n".join(["sep=;", "File;Caption;License", *rows, ""])
    (folder / "Liste.csv").write_bytes(table.encode("cp1252"))
    corpus.right["excel", "a.png"] = Right(('6" Nagel; groß',), licence="MIT")
    corpus.right["excel", "Bilder/Straße über.png"] = Right(("Über den Wolken",), ("CMYK",))
    corpus.refused["excel", "fehlt.png"] = "no such file"


def _hub(corpus: OutsideCorpus, folder: Path) -> None:
    for split, name, corners in (
        ("train", "train", "RGBY"),
        ("val", "validation", "YBGR"),
        ("test", "test", "CMYK"),
    ):
        (folder / name / "images").mkdir(parents=True)
        Image.fromarray(picture(corners)).save(folder / name / "images/0.png")
        line = json.dumps({"file_name": "images/0.png", "text": f"picture of {name}"})
        (folder / name / "metadata.jsonl").write_text(line)
        corpus.right["hub", f"{name}/images/0.png"] = Right((f"picture of {name}",), (corners,), split=split)


def _mac(corpus: OutsideCorpus, folder: Path) -> None:
    def content(corners: str, kind: str) -> bytes:
        buffer = BytesIO()
        Image.fromarray(picture(corners)).save(buffer, kind, quality=97)
        return buffer.getvalue()

    members = [
        ("./.DS_Store", b"Bud1"),
        ("./Photos/._IMG_1.JPG", b"\0\5\x16\7"),
        ("./Photos/IMG_1.JPG", content("RGBY", "JPEG")),
        ("./Photos/IMG_1.TXT", b"from the camera"),
        ("./Photos/Cafe\u0301.png", content("CMYK", "PNG")),
        ("./Photos/Cafe\u0301.txt", "a café".encode()),
        ("./Photos/twice.png", content("MMMM", "PNG")),
        ("./Photos/twice.txt", b"first"),
        ("./Photos/twice.png", content("YBGR", "PNG")),
        ("./Photos/twice.txt", b"second"),
        ("./Photos/lonely.txt", b"words alone"),
        ("./__MACOSX/Photos/._x.png", b"\0\5"),
    ]
    with tarfile.open(folder / "Archive.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size, member.pax_headers = len(data), {"LIBARCHIVE.xattr.com.apple.quarantine": "x"}
            tar.addfile(member, BytesIO(data))
    place = "Archive.tar/./Photos/"
    corpus.right["mac", place + "IMG_1.JPG"] = Right(("from the camera",))
    corpus.right["mac", place + "Cafe\u0301.png"] = Right(("a café",), ("CMYK",))
    corpus.right["mac", place + "twice.png"] = Right(("second",), ("YBGR",))
    corpus.refused["mac", place + "twice.png (1)"] = "is in its tar 2 times; the last one counts"
    corpus.refused["mac", place + "lonely.txt"] = "words without an image or a video"


def _encode(
    path: Path, frames: list[np.ndarray], *options: str, rate: int = FPS, pixels: str = "rgb24"
) -> Path:
    height, width = frames[0].shape[:2]
    data = b"".join(np.ascontiguousarray(frame).tobytes() for frame in frames)
    raw = ("-f", "rawvideo", "-pix_fmt", pixels, "-s", f"{width}x{height}", "-r", rate, "-i", "-")
    _ffmpeg(*raw, *options, path, data=data)
    return path


def _ffmpeg(*words: object, data: bytes | None = None) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-threads", "1", *map(str, words)]
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    assert done.returncode == 0, (command, done.stderr.decode())
