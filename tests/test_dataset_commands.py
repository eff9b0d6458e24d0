"""`vidrd dataset` on a folder: its answers, exit code 1 only for a verify that found something."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from flows.cli.dataset import dataset_app
from tasks.clips.check import video_problem
from tests.dataset_rows import clip_ids, clip_row, commit, source_row

PROJECT = Path(__file__).parents[1]


def run(capsys, *arguments: str) -> tuple[int, dict]:
    """The command's exit code and what it printed."""
    code = typer.main.get_command(dataset_app).main([*arguments, "--json"], standalone_mode=False)
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] == (not code)
    return code or 0, answer["result"]


@pytest.fixture
def folder(tmp_path) -> Path:
    commit(tmp_path, [clip_row("a"), clip_row("b")], sources=[source_row("a"), source_row("b")])
    commit(tmp_path, [clip_row("c")], sources=[source_row("c")])
    return tmp_path


def test_verify_repair_and_its_exit_codes(folder, capsys):
    code, report = run(capsys, "verify", str(folder))
    assert (code, report["ok"], report["problems"], report["rows"]["clips"]) == (0, True, [], 3)
    (folder / "builds.partial").write_text("{")
    code, report = run(capsys, "verify", f"{folder}@build-0001")
    assert (code, report["ok"], report["problem_count"]) == (1, False, 1)
    code, report = run(capsys, "verify", str(folder), "--repair")
    assert (code, report["ok"], len(report["repaired"])) == (0, True, 1)
    commit(folder, [clip_row("d", video=b"no mp4")], sources=[source_row("d")])
    code, report = run(capsys, "verify", str(folder), "--repair")
    (problem,) = report["problems"]
    assert code == 1 and (problem["table"], problem["row"], problem["id"]) == ("clips", 3, "d-0")
    assert "video is broken" in problem["what"]


def test_remove_and_what_info_says_then(folder, capsys):
    options = ["--source-id", "a", "--source-id", "c.mp4", "--reason", "asked for"]
    code, report = run(capsys, "remove", str(folder), *options)
    assert code == 0 and report["rows"]["clips"] == 2 and clip_ids(folder) == ["b-0"]
    builds = run(capsys, "info", str(folder))[1]["builds"]
    assert [build["more"]["clips"] for build in builds] == [2, 1, -2]
    code, report = run(capsys, "remove", str(folder), "--corpus", "walks", "--purge")
    assert report["purged"] == ["build-0001", "build-0002", "build-0003"] and clip_ids(folder) == []
    info = run(capsys, "info", str(folder))[1]
    assert info["tags"] == ["build-0004"] and info["bytes"]["clips"] > 0


COMMANDS = """
import sys
from flows.cli.dataset import dataset_app
import typer
command, folder = typer.main.get_command(dataset_app), sys.argv[1]
for arguments in (
    ["info", folder],
    ["verify", folder, "--repair"],
    ["remove", folder, "--source-id", "a"],
    ["compact", folder],
    ["report", folder, "--out", folder + ".html"],
):
    command.main(arguments, standalone_mode=False)
    assert not {"prefect", "ray", "mlflow", "torch"} & set(sys.modules), arguments
"""


def test_they_need_neither_prefect_nor_ray(folder):
    subprocess.run([sys.executable, "-c", COMMANDS, str(folder)], check=True, capture_output=True)
    # A plan measures with the models themselves: looked at without the seconds that these take.
    reached = _reached("flows.dataset.plan", set()) | _reached("flows.dataset.request", set())
    assert "torch" in reached and not {"prefect", "ray", "mlflow"} & reached


def _reached(module: str, seen: set[str]) -> set[str]:
    """The libraries that importing a module of ours imports, and the modules of ours, which are added to `seen`."""
    path = PROJECT / module.replace(".", "/")
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if module in seen or not path.is_file():
        return {module.split(".")[0]}
    seen.add(module)
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            found |= _reached(str(node.module), seen)
        elif isinstance(node, ast.Import):
            found |= {name for alias in node.names for name in _reached(alias.name, seen)}
    return found


def test_compact(folder, capsys):
    code, report = run(capsys, "compact", str(folder), "--keep-days", "0")
    assert code == 0 and (report["tag"], report["fragments"]["clips"]) == ("build-0003", 1)
    code, report = run(capsys, "compact", str(folder), "--newest-only")
    assert report["forgotten"] == ["build-0001", "build-0002"] and clip_ids(folder) == ["a-0", "b-0", "c-0"]


def test_video_problem_of_real_media(shared_dir):
    files = sorted((shared_dir / "media").rglob("*.mp4"))[:1]
    assert files
    data = files[0].read_bytes()
    what = video_problem(data, 1)
    assert what is not None and what.endswith("frames, not 1")
    frames = int(what.split()[3])
    assert video_problem(data, frames) is None
    assert "broken" in str(video_problem(data[: len(data) // 3], frames))
