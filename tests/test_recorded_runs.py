"""Where a command's run is recorded: the server that is set up, if any, and what the flow there works on."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from flows.runs.read_once import read_before, request_of
from flows.runs.server import server_address
from flows.up.services import announce
from storage.local.services import Services

ROOT = Path(__file__).resolve().parents[1]


class _Params(BaseModel):
    number: int = 1


class _Others(BaseModel):
    number: int = 1


def test_a_flow_works_on_what_its_command_has_read_and_on_nothing_else() -> None:
    read: list[BaseModel] = []

    def read_request(params: BaseModel) -> str:
        read.append(params)
        return "read now"

    with read_before(_Params(), "read before"):
        assert request_of(_Params(), read_request) == "read before"
        assert request_of(_Params(number=2), read_request) == "read now"  # a run that this one starts
        assert request_of(_Others(), read_request) == "read now"
    assert request_of(_Params(), read_request) == "read now"
    assert read == [_Params(number=2), _Others(), _Params()]


@pytest.fixture
def nothing_set(tmp_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.chdir(tmp_path)


def test_without_a_server_nothing_is_asked_of_prefect(nothing_set: None) -> None:
    program = (
        "import sys\nfrom flows.runs.server import server_address\n"
        "assert server_address() is None\nassert 'prefect' not in sys.modules\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)


def test_the_address_of_the_environment_is_before_that_of_a_running_vidrd_up(
    nothing_set: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listening:
        ours = f"http://127.0.0.1:{listening.getsockname()[1]}"
        announce(Services(ours, "http://127.0.0.1:9", os.getpid()))
        assert server_address() == f"{ours}/api"
        monkeypatch.setenv("PREFECT_API_URL", "http://prefect.example/api")
        assert server_address() == "http://prefect.example/api"
        monkeypatch.delenv("PREFECT_API_URL")
    assert server_address() is None  # it is announced, and does not answer


PROFILE = 'active = "shared"\n[profiles.shared]\nPREFECT_API_URL = "http://prefect.example/api"\n'
FILES = {
    "a profile": ("prefect/profiles.toml", PROFILE, "http://prefect.example/api"),
    "Prefect's settings": (
        "prefect.toml",
        '[api]\nurl = "http://prefect.example/api"\n',
        "http://prefect.example/api",
    ),
    "the project's settings": (
        "pyproject.toml",
        '[tool.prefect.api]\nurl = "http://prefect.example/api"\n',
        "http://prefect.example/api",
    ),
    "variables of a file": (
        ".env",
        "PREFECT_API_URL=http://prefect.example/api\n",
        "http://prefect.example/api",
    ),
    "a profile without a server": ("prefect/profiles.toml", 'active = "mine"\n[profiles.mine]\n', None),
    "a damaged file": ("prefect/profiles.toml", "[[[", None),
}


@pytest.mark.parametrize(("name", "text", "address"), FILES.values(), ids=FILES.keys())
def test_the_address_of_a_file_of_prefects_is_found(
    name: str, text: str, address: str | None, nothing_set: None, tmp_path: Path
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    program = "from flows.runs.server import server_address; print(server_address())"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines()[-1:] == [str(address)], done.stderr


# The command, which leaves in a file what of this it has loaded.
GENERATE = """
import sys
from pathlib import Path
from flows.cli.app import main
loaded = Path(sys.argv[1])
sys.argv = ["vidrd", *sys.argv[2:]]
try:
    main()
finally:
    loaded.write_text(" ".join(sorted({"prefect", "ray", "mlflow", "lance"} & set(sys.modules))))
"""


def _generated(folder: Path, home: Path, **environment: str) -> tuple[dict[str, Any], list[str], list[str]]:
    """What the command prints, what it tells, without its seconds and file names, and which libraries it has loaded.

    Of its progress that is the last line: how often it is told hangs on how long the work takes.
    """
    loaded = home.parent / f"loaded-by-{folder.name}"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            GENERATE,
            str(loaded),
            "generate",
            "a red circle moving right",
            "--clips=2",
            "--steps=2",
            "--json",
            f"--out={folder}/video.mp4",
            f"--model={ROOT}/infra/profiles/tiny/model",
        ],
        env=os.environ | {"VIDRD_HOME": str(home)} | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.replace(str(folder), ""))["result"]
    del result["seconds"]
    *lines, last = re.sub(r"[\d.]+ s\b", "", done.stderr).splitlines()
    assert all(line.startswith("[generate] ") for line in (*lines, last)), "no bars, no library's words"
    told = [*(line for line in lines if not re.match(r"\[generate\] \d+/\d+ ", line)), last]
    return result, told, loaded.read_text().split()


@pytest.mark.slow
@pytest.mark.gate
def test_a_command_does_the_same_with_a_server_and_without(prefect_session: None, tmp_path: Path) -> None:
    """Without one a video of a model folder takes neither a server nor Ray nor MLflow."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL

    with get_client(sync_client=True) as client:
        before = {run.id for run in client.read_flow_runs()}
        *alone, loaded = _generated(tmp_path / "alone", tmp_path / "home")
        assert {run.id for run in client.read_flow_runs()} == before and loaded == []
        *recorded, loaded = _generated(
            tmp_path / "recorded", tmp_path / "home", PREFECT_API_URL=PREFECT_API_URL.value()
        )
        (run,) = [run for run in client.read_flow_runs() if run.id not in before]
    assert run.state is not None and run.state.is_completed() and run.name and "prefect" in loaded
    assert alone == recorded
    for name in ("video.mp4", "video.png"):
        assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "recorded" / name).read_bytes()
