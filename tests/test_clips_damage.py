"""Damaged media: whatever is wrong with a file, it gives clips or an ItemError with a stage, and nothing else."""

import json
import os
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.clips.video_io import encode
from tasks.tiny.world.drawing import draw_clip, draw_image, random_scene

ROOT = Path(__file__).resolve().parents[1]
SHARED_MEDIA = ROOT.parent / "shared/media"
SHARED = (
    "videos/carphone_pristine.mp4",
    "videos/decord_flipping_a_pancake.mkv",
    "research-only/v_SoccerJuggling_g23_c01.avi",
    "images/flower.jpg",
    "images/moon.png",
)
MAX_GROWTH_MB = 300  # a decoder and its buffers; what a header merely promises is far more
PROCESSES = 2
Files = dict[str, bytes]


def _drawn_files(folder: Path) -> Files:
    """Small whole files of every container and codec, by name."""
    rng = np.random.default_rng(0)
    frames = np.concatenate([draw_clip(random_scene(rng), rng, 8) for _ in range(3)])
    kinds: list[tuple[str, str, str, str, dict[str, str]]] = [
        ("h264.mp4", "libx264", "mp4", "yuv420p", {"g": "8", "bf": "2"}),
        ("mpeg4.avi", "mpeg4", "avi", "yuv420p", {}),
        ("h264.mkv", "libx264", "matroska", "yuv420p", {"g": "8"}),
        ("vp9.webm", "libvpx-vp9", "webm", "yuv420p", {"deadline": "realtime", "cpu-used": "8"}),
        ("moving.gif", "gif", "gif", "rgb8", {}),
        ("h264.ts", "libx264", "mpegts", "yuv420p", {"g": "8"}),
    ]
    for name, codec, container, pix_fmt, options in kinds:
        encode(folder / name, frames, 8.0, codec, pix_fmt, container, options=options)
    pictures = [Image.fromarray(frame) for frame in frames]
    pictures[0].save(folder / "moving.webp", save_all=True, append_images=pictures[1:], duration=125)
    still = Image.fromarray(draw_image(random_scene(rng, moving=False), rng, 96))
    for name in ("still.png", "still.jpg", "still.webp", "still.gif"):
        still.save(folder / name)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def _kinds(name: str) -> tuple[str, ...]:
    """The kinds of source that a file may be taken for: animations are images and videos."""
    if name.startswith("moving"):
        return ("images", "short-videos", "long-videos")
    return (
        ("images",)
        if name.startswith("still") or name.endswith((".png", ".jpg"))
        else ("short-videos", "long-videos")
    )


def _damaged(files: Files, flips: int) -> Iterator[tuple[str, str, bytes]]:
    """Source kind, name and bytes of every case: whole, cut at every tenth, flipped bits, holes, wrong names."""
    for number, (name, data) in enumerate(files.items()):
        kinds = _kinds(name)
        for tenth in range(11):
            yield kinds[tenth % len(kinds)], f"cut{tenth}-{name}", data[: len(data) * tenth // 10]
        for flip in range(flips):
            rng = np.random.default_rng([number, flip])
            bytes_ = np.frombuffer(data, np.uint8).copy()
            # Half of the damage goes to the headers, where it does most.
            end = min(len(bytes_), 1024) if flip % 2 else len(bytes_)
            places = rng.integers(0, end, 1 + flip % 20)
            bytes_[places] ^= np.uint8(1) << rng.integers(0, 8, len(places)).astype(np.uint8)
            yield kinds[flip % len(kinds)], f"flip{flip}-{name}", bytes_.tobytes()
        middle = len(data) // 2
        yield kinds[-1], f"hole-{name}", data[: middle // 2] + bytes(middle) + data[middle // 2 + middle :]
        yield kinds[0], f"tail-{name}", data[middle:]
        yield "short-videos" if kinds == ("images",) else "images", f"other-kind-{name}", data
        yield kinds[0], f"{name}.txt", data


def _promises(files: Files) -> Iterator[tuple[str, str, bytes]]:
    """Headers that promise what would fill any memory."""
    png = files["still.png"]
    sizes = struct.pack(">II", 40_000, 40_000)
    header = b"IHDR" + sizes + png[24:29]
    yield "images", "bomb.png", png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]
    gif = files["moving.gif"]
    for kind in ("images", "short-videos", "long-videos"):
        yield kind, "bomb.gif", gif[:6] + struct.pack("<HH", 40_000, 40_000) + gif[10:]
    mp4 = files["h264.mp4"]
    yield "short-videos", "wide.mp4", _patched(mp4, b"avc1", 28, struct.pack(">HH", 32_768, 32_768))
    yield "short-videos", "many-samples.mp4", _patched(mp4, b"stsz", 12, struct.pack(">I", 2**31))
    yield "short-videos", "many-times.mp4", _patched(mp4, b"stts", 12, struct.pack(">I", 10**6))
    yield "long-videos", "long-frame.mp4", _patched(mp4, b"stts", 16, struct.pack(">I", 2**31 - 1))
    avi = files["mpeg4.avi"]
    for kind in ("short-videos", "long-videos"):
        yield kind, "wide.avi", _patched(avi, b"strf", 12, struct.pack("<ii", 30_000, 30_000))
    yield "long-videos", "many-frames.avi", _patched(avi, b"avih", 24, struct.pack("<I", 10**6))
    for kind in ("images", "short-videos", "long-videos"):
        yield kind, "zeros.mp4", bytes(100_000)
        yield kind, "text.avi", b"This is a text, whatever its name says.\n" * 100
        yield kind, "riff.webp", b"RIFF\xff\xff\xff\xffWEBPVP8X" + bytes(40)


def _patched(data: bytes, tag: bytes, offset: int, patch: bytes) -> bytes:
    """The bytes with a patch at an offset from a tag's first letter."""
    at = data.index(tag) + offset
    return data[:at] + patch + data[at + len(patch) :]


def _write(folder: Path, cases: Iterator[tuple[str, str, bytes]]) -> int:
    """Deals the cases out to one folder per process; how many there are."""
    count = 0
    for kind, name, data in cases:
        target = folder / str(count % PROCESSES) / f"{kind}--{name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        count += 1
    return count


def _run(folder: Path) -> list[dict]:
    """What became of each case; a process that dies fails the test by the case's name."""
    reports: list[dict] = []
    failures: list[str] = []

    def run(part: Path) -> None:
        command = [sys.executable, "-m", "tests.damaged_clips", str(part)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ)
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        reports.extend(line for line in lines if "name" in line)
        if done.returncode != 0:
            last = lines[-1].get("begins", "no case") if lines else "no case"
            failures.append(f"exit code {done.returncode} at {last}: {done.stderr[-500:]}")

    threads = [threading.Thread(target=run, args=(part,)) for part in sorted(folder.iterdir())]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    return reports


def _check(folder: Path, cases: Iterator[tuple[str, str, bytes]], at_least: int) -> list[dict]:
    count = _write(folder, cases)
    reports = _run(folder)
    assert count >= at_least and len(reports) == count
    bad = [
        report
        for report in reports
        if "raised" in report
        or ("stage" in report and (not report["stage"] or "\n" in report["error"]))
        or ("stage" not in report and not (report["clips"] > 0 and report["made_again"]))
        or report["grown_mb"] > MAX_GROWTH_MB
    ]
    assert not bad
    return reports


def test_damaged_drawn_files(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    files = _drawn_files(tmp_path / "whole")
    reports = _check(tmp_path / "cases", _damaged(files, 20), 300)
    whole = [report for report in reports if "--cut10-" in report["name"]]
    assert len(whole) == len(files) and all(report["clips"] > 0 for report in whole), whole
    assert any("--flip" in report["name"] and "stage" not in report for report in reports)
    empty = [report for report in reports if "--cut0-" in report["name"]]
    assert all(report["stage"] == "decode" and report["clips"] == 0 for report in empty)


def test_headers_that_promise_too_much(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    _check(tmp_path / "cases", _promises(_drawn_files(tmp_path / "whole")), 20)


@pytest.mark.slow
def test_damaged_real_files(tmp_path: Path) -> None:
    if not SHARED_MEDIA.exists():
        pytest.skip("../shared/media is not here")
    files = {Path(name).name: (SHARED_MEDIA / name).read_bytes() for name in SHARED}
    _check(tmp_path / "cases", _damaged(files, 20), 150)


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "cases/0").mkdir(parents=True)
    _drawn_files(tmp_path / "whole")
    (tmp_path / "cases/0/short-videos--link.mp4").symlink_to(tmp_path / "whole/h264.mp4")
    (tmp_path / "cases/0/images--nowhere.png").symlink_to(tmp_path / "gone.png")
    nowhere, link = _run(tmp_path / "cases")
    assert nowhere["stage"] == "read" and link["clips"] > 0
