"""What a command costs before and beside its work: CPU seconds of its whole process tree, one thread each.

A command that samples one video is measured against the same call in plain Python, in a fresh process of its own.
"""

from __future__ import annotations

import ctypes
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from tasks.tiny.world.drawing import Scene, draw_clip
from tasks.tiny.world.media import write_image
from tests.bench.tables import print_head, print_row

ROUNDS = 3
MODEL, PROMPT = "infra/profiles/tiny/model", "a red circle moving right"
COMMANDS = {
    "--help": ["--help"],
    "refused for a parameter": ["generate", PROMPT, "--clips", "0"],
    "refused for a path": ["generate", PROMPT, "--out", "/dev/null/video.mp4"],
    "refused for the profile": ["generate", PROMPT, "--profile", "none"],
    "refused by Lance": ["dataset", "info", "nowhere"],
    "refused by MLflow": ["promote", "--model", "models:/vidrd/99"],
}
CORPUS = """[[corpus]]
name = "pictures"
kind = "images"
format = "folder"
path = "."
licence = "CC0-1.0"
"""
CALL = """
import sys
from pathlib import Path
from tasks.generation.video_file import VideoFile
from vidrd_model import VidRDPipeline
pipe = VidRDPipeline.from_pretrained(sys.argv[1])
frames = pipe(sys.argv[2], num_clips=1, seed=7, output_type="uint8").frames[0]
file = VideoFile(Path(sys.argv[3]), sys.argv[2], 7, 1, 8.0)
file.add(frames)
file.finish()
"""
_BECOME_SUBREAPER = 36  # of prctl: what a dead child leaves running becomes ours, and its time is counted


def main() -> None:
    """Prints a row for each command, and the ratio of the two ways to make a video."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_BECOME_SUBREAPER, 1, 0, 0, 0)
    print(f"Median of {ROUNDS} runs in turn, an empty `$VIDRD_HOME` each, `OMP_NUM_THREADS=1`.\n")
    print_head("command", "CPU")
    for name, arguments in COMMANDS.items():
        code = 2 if name.startswith("refused") else 0
        seconds = statistics.median(cpu_s(_command(arguments), code) for _ in range(ROUNDS))
        print_row(name, f"{seconds:.2f} s")
    with tempfile.TemporaryDirectory(prefix="vidrd-bench-") as name:
        out = str(Path(name, "video.mp4"))
        made = {
            "generate, one clip": _command(
                ["generate", PROMPT, "--clips=1", f"--model={MODEL}", f"--out={out}", "--force"]
            ),
            "the same call in Python": [sys.executable, "-c", CALL, MODEL, PROMPT, out],
        }
        taken_s: dict[str, list[float]] = {way: [] for way in made}
        for _ in range(ROUNDS):
            for way, command in made.items():
                taken_s[way].append(cpu_s(command))
        _print_first_build(Path(name, "pictures"))
    medians = {way: statistics.median(seconds) for way, seconds in taken_s.items()}
    for way, median_s in medians.items():
        print_row(way, f"{median_s:.2f} s")
    ours, plain = medians.values()
    print(f"\nThe command takes {ours / plain:.2f} of the call's CPU time.")


def _print_first_build(pictures: Path) -> None:
    """A row for a build of two pictures, from nothing to the tag."""
    pictures.mkdir()
    Path(pictures, "corpora.toml").write_text(CORPUS)
    for number, colour in enumerate(("red", "blue")):
        frames_nhwc = draw_clip(Scene(colour, "circle", "left"), np.random.default_rng(number))
        write_image(pictures / f"{colour}.png", frames_nhwc[0])
        Path(pictures, f"{colour}.txt").write_text(f"a {colour} circle")
    command, cpu, wall = _command(["build-dataset", "--corpora", str(pictures / "corpora.toml")]), [], []
    for _ in range(ROUNDS):
        started_s = time.perf_counter()
        cpu.append(cpu_s(command))
        wall.append(time.perf_counter() - started_s)
    print_row(
        f"first build of two pictures, {statistics.median(wall):.1f} s of wall time",
        f"{statistics.median(cpu):.2f} s",
    )


def cpu_s(command: list[str], code: int = 0) -> float:
    """The CPU seconds of a command and of all that it starts, whether or not it waits for them.

    RuntimeError when it ends with another exit code, for what failed or was kept took no time worth telling.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory(prefix="vidrd-bench-") as home:
        environment = os.environ | {"VIDRD_HOME": home, "OMP_NUM_THREADS": "1"}
        environment.pop("PREFECT_HOME", None)
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode != code:
            raise RuntimeError(f"{command} ended with {done.returncode}: {done.stderr}")
        with suppress(ChildProcessError):
            while True:
                os.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _command(arguments: list[str]) -> list[str]:
    return [sys.executable, "-m", "flows.cli", *arguments]
