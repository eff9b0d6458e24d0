"""The bench of a build on a GPU runs, at tiny size, where there is none, and needs no more than it says."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
PROGRAM = """
import sys
from tests.bench.gpu_build import main
main(sys.argv[1:])
assert not {"ray", "lance", "mlflow", "prefect"} & set(sys.modules)
"""


@pytest.fixture
def videos(tmp_path: Path, shared_dir: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("bikes.mp4", "carphone_pristine.mp4"):
        shutil.copy(shared_dir / "media/videos" / name, folder)
    return folder


@pytest.mark.slow
def test_it_runs_on_a_cpu(videos: Path) -> None:
    arguments = [str(videos), "--tiny", "--clips", "16", "--decoders", "1", "--precision", "bfloat16"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], cwd=PROJECT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    rows = dict(re.findall(r"^\| (.+?) +\| (.+?) +\|$", done.stdout, re.M))
    assert rows["clips"] == "16" and float(rows["clips per second"]) > 0
    assert rows["frames through CLIP over frames needed"].startswith("1.00 (0 of")
    assert rows["frames through VAE over frames needed"].startswith("1.00 (0 of")
    assert {"decode, seconds in all", "score, seconds in all", "encode, seconds in all"} < rows.keys()
    assert 0 <= int(rows["share of the time that the models wait"].removesuffix(" %")) <= 100
    assert rows["sources that gave nothing"] == "0"
