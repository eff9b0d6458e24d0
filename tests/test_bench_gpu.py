"""The parts of the bench for a GPU run, at tiny size, where there is none, and need no more than they say."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.gpu.__main__ import main

PROJECT = Path(__file__).parents[1]
PROGRAM = """
import sys
from tests.bench.gpu.__main__ import main
main(sys.argv[1:])
brought = {"ray", "lance", "mlflow", "prefect"} & set(sys.modules)
assert brought <= ({"ray", "lance"} if sys.argv[1] == "training" else set()), brought
"""


def measured(part: str, file: Path, *arguments: str) -> dict:
    command = [sys.executable, "-c", PROGRAM, part, "--tiny", "--json", str(file), *arguments]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told: dict = json.loads(file.read_text(encoding="utf-8"))
    assert told["part"] == part and told["device"].startswith("CPU") and told["torch"]
    for row in told["rows"]:
        assert all(value in done.stdout for value in row.values())
    return told


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "first", "eager_rows"),
    [
        ("passes", "TemporalUNet (", 3),
        ("sampling", "eager, one by one", 4),
        ("training", "temporal, eager", 8),
    ],
)
def test_a_part_measures_and_then_compiles(part: str, first: str, eager_rows: int, tmp_path: Path) -> None:
    told = measured(part, tmp_path / "told.json", "--seconds", "240")
    names = [next(iter(row.values())) for row in told["rows"]]
    assert names[0].startswith(first)
    assert sum("compiled" not in name for name in names) == eager_rows
    assert len(names) > eager_rows or told["notes"][-1] == "stopped after 240 s"


@pytest.mark.slow
@pytest.mark.parametrize("seconds", ["1", "12"])
def test_a_part_ends_when_its_time_is_up_with_what_it_has(seconds: str, tmp_path: Path) -> None:
    told = measured("training", tmp_path / "told.json", "--seconds", seconds)
    assert len(told["rows"]) < 5 and told["notes"] == [f"stopped after {seconds} s"]


@pytest.mark.slow
def test_a_build_runs(shared_dir: Path, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in ("bikes.mp4", "carphone_pristine.mp4"):
        shutil.copy(shared_dir / "media/videos" / name, videos)
    asked = ("--videos", str(videos), "--clips", "16", "--decoders", "1", "--precision", "bfloat16")
    rows = dict(tuple(row.values()) for row in measured("build", tmp_path / "told.json", *asked)["rows"])
    assert rows["clips"] == "16" and float(rows["clips per second"]) > 0
    assert rows["frames through CLIP over frames needed"].startswith("1.00 (0 of")
    assert rows["frames through VAE over frames needed"].startswith("1.00 (0 of")
    assert {"decode, seconds in all", "score, seconds in all", "encode, seconds in all"} < rows.keys()
    assert 0 <= int(rows["share of the time that the models wait"].removesuffix(" %")) <= 100
    assert rows["sources that gave nothing"] == "0"


def test_a_build_without_videos_is_refused() -> None:
    with pytest.raises(SystemExit, match="error: build needs --videos FOLDER"):
        main(["build", "--tiny"])
