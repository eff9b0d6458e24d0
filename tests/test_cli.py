"""The `vidrd` command: quick help with an example each, and one clear line for every wrong request."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.forked_commands import run_forked

COMMANDS = [
    ["build-dataset"],
    ["dataset", "info"],
    ["dataset", "verify"],
    ["dataset", "remove"],
    ["dataset", "compact"],
    ["retrain"],
    ["evaluate"],
    ["promote"],
    ["pages"],
    ["generate"],
    ["ablate"],
    ["weights", "fetch"],
    ["weights", "list"],
    ["weights", "import"],
    ["up"],
    ["demo"],
]
HEAVY = {
    "torch",
    "ray",
    "mlflow",
    "lance",
    "prefect",
    "av",
    "cv2",
    "diffusers",
    "pandas",
    "matplotlib",
    "rich",
}


def vidrd(*arguments: str, home: Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"VIDRD_HOME": str(home), "COLUMNS": "120"}
    del environment["PREFECT_HOME"]  # conftest's: the command has to find its own
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments],
        env=environment,
        cwd=cwd,
        capture_output=True,
        text=True,
    )


def test_help_costs_less_than_a_second(tmp_path):
    def cpu_s() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime  # not the wall clock: the machine may be busy

    before = cpu_s()
    done = vidrd("--help", home=tmp_path)
    assert done.returncode == 0
    assert cpu_s() - before < 1.0
    assert not list(tmp_path.iterdir())  # help writes nothing


def test_help_imports_nothing_heavy():
    program = f"import flows.cli.app, sys; sys.exit(bool({HEAVY!r} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_help_has_an_example(command, tmp_path):
    done = vidrd(*command, "--help", home=tmp_path)
    assert done.returncode == 0
    assert f"Example: vidrd {' '.join(command)}" in done.stdout


WRONG = {
    "an unknown command": (["nothing"], "nothing"),
    "an unknown option": (["generate", "x", "--nothing"], "--nothing"),
    "a value of a wrong type": (["generate", "x", "--clips", "many"], "--clips"),
    "a value out of range": (["generate", "x", "--clips", "0"], "clips"),
    "a size that is none": (["generate", "x", "--size", "large"], "size"),
    "a size that no model makes": (["generate", "x", "--size", "63x64"], "width"),
    "a way to join clips that is none": (["generate", "x", "--seam", "sew"], "seam"),
    "a threshold out of range": (["build-dataset", "--clip-threshold", "2"], "clip_threshold"),
    "an unknown choice": (["retrain", "--part", "everything"], "part"),
    "an unknown profile": (["generate", "x", "--profile", "huge"], "huge"),
    "a corpora file that is not there": (["build-dataset", "--corpora", "missing.toml"], "missing.toml"),
    "a dataset at an address": (["build-dataset", "--dataset", "s3://bucket/x"], "is an address"),
    "a folder in the way of a dataset": (["build-dataset", "--dataset", "/dev/null/x"], "is a file"),
    "a dataset to train on at an address": (["retrain", "--dataset", "s3://bucket/x"], "is an address"),
    "a video for an address": (["generate", "x", "--out", "s3://bucket/x.mp4"], "is an address"),
    "a folder that is no dataset": (["retrain", "--dataset", "empty"], "empty"),
    "a dataset info of a folder that is none": (["dataset", "info", "empty"], "empty"),
    "a verify of a folder that is none": (["dataset", "verify", "empty", "--repair"], "empty"),
    "a removal from a folder that is none": (["dataset", "remove", "empty", "--corpus", "x"], "empty"),
    "a removal of nothing": (["dataset", "remove", "empty"], "--source-id"),
    "a compaction of a folder that is none": (["dataset", "compact", "empty"], "empty"),
    "a folder that is no model": (["generate", "x", "--model", "empty"], "empty"),
    "an evaluation of no model": (["evaluate", "--model", "empty"], "empty"),
    "finished videos and a model": (["evaluate", "--videos", "empty", "--model", "empty"], "leave out model"),
    "finished videos that are not there": (["evaluate", "--videos", "empty"], "has no video"),
    "a candidate that does not exist": (["promote"], "candidate"),
    "a prompts file that is not there": (["generate", "--prompts", "missing.txt"], "missing.txt"),
    "an out that is no video": (["generate", "x", "--out", "out.avi"], "out.avi"),
    "weights nobody knows": (["weights", "fetch", "nothing"], "nothing"),
    "a group without a command": (["dataset"], "command"),
    "a port out of range": (["up", "--prefect-port", "70000"], "--prefect-port"),
}


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    """How each of these ends."""
    folder = tmp_path_factory.mktemp("wrong")
    (folder / "empty").mkdir()
    ended = run_forked([arguments for arguments, _ in WRONG.values()], folder / "homes", folder)
    return dict(zip(WRONG, ended, strict=True))


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_request_is_one_line_and_exit_code_2(name, refused):
    ended, (_, named) = refused[name], WRONG[name]
    assert ended.code == 2, ended.stderr
    lines = [line for line in ended.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, ended.stderr
    assert lines[0].startswith("error: ")
    assert named in lines[0]
    assert ended.stdout == ""


def test_a_corpora_file_with_an_unknown_key_is_refused_by_name(tmp_path):
    corpora = tmp_path / "corpora.toml"
    corpora.write_text(
        '[[corpus]]\nname = "a"\nkind = "images"\nformat = "folder"\npath = "."\ncolour = "red"\n'
    )
    done = vidrd("build-dataset", "--corpora", str(corpora), home=tmp_path / "home")
    assert done.returncode == 2
    assert "colour" in done.stderr
    assert str(corpora) in done.stderr


def test_a_home_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = vidrd("promote", home=tmp_path / "file" / "home")
    assert done.returncode == 2
    assert done.stderr.startswith("error: VIDRD_HOME: ")


def test_up_refuses_a_port_that_is_taken(tmp_path):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = vidrd("up", "--prefect-port", port, home=tmp_path)
    assert done.returncode == 2
    assert f"--prefect-port: 127.0.0.1:{port} is taken" in done.stderr


@pytest.mark.slow
def test_a_prefect_server_that_does_not_answer_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    done = vidrd("generate", "a red circle", home=tmp_path)
    assert done.returncode == 2
    assert "error: PREFECT_API_URL: no Prefect server answers at http://127.0.0.1:9/api" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_request_that_fails_in_the_flow_is_one_line(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    (images / "nothing.png").write_text("This is no image.")
    corpus = {
        "name": "broken",
        "kind": "images",
        "format": "folder",
        "path": str(images),
        "licence": "CC0-1.0",
    }
    lines = [f'{name} = "{value}"' for name, value in corpus.items()]
    (tmp_path / "corpora.toml").write_text("\n".join(["[[corpus]]", *lines]))
    done = vidrd("build-dataset", "--corpora", str(tmp_path / "corpora.toml"), home=tmp_path / "home")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr and done.stderr.splitlines()[-1].startswith("error: dataset: ")
    assert "broken: 1 images (1 .png)\n  captions: none\n" in done.stderr  # told before the work


@pytest.mark.slow
def test_ctrl_c_ends_a_command_and_everything_it_started(tmp_path):
    """As a terminal sends it: to every process of the group at once."""
    environment = os.environ | {"VIDRD_HOME": str(tmp_path / "home")}
    del environment["PREFECT_HOME"]
    command = [sys.executable, "-m", "flows.cli", "build-dataset"]
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        lines = iter(process.stdout.readline, "")
        assert any("[build-dataset]" in line for line in lines)
        os.killpg(process.pid, signal.SIGINT)
        rest = "".join(lines)
    assert process.returncode == 130
    assert "Traceback" not in rest and "ConnectError" not in rest
