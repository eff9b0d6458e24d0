"""`vidrd doctor`: what is well is said to be, and what is not is named with what to do, whatever else fails."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.cli.app import app
from flows.doctor import machine, servers
from flows.doctor.finding import Finding, found_by
from storage.errors import StorageError
from storage.local.secret_files import secret

PREFECT, MLFLOW = metadata.version("prefect"), metadata.version("mlflow")


def examined(*options: str, problems: int = 0) -> dict[str, dict[str, Any]]:
    """What the command finds, by what it is about."""
    done = CliRunner().invoke(app, ["doctor", *options, "--json"])
    assert done.exit_code == bool(problems), done.output
    told = json.loads(done.stdout)
    findings = told["result"]["findings"]
    assert told["ok"] is not bool(problems) and told["result"]["problems"] == problems, findings
    assert sum(finding["state"] == "problem" for finding in findings) == problems
    return {finding["about"]: finding for finding in findings}


@pytest.fixture(autouse=True)
def no_servers(tmp_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of its own, and nothing set of servers."""
    for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_a_machine_that_runs_these_tests_is_well(tmp_home: Path) -> None:
    found = examined()
    wanted = {
        "Python",
        "packages",
        "ffmpeg",
        "memory",
        "VIDRD_HOME",
        "sockets",
        "clock",
        "Ray",
        "Prefect",
        "MLflow",
    }
    assert wanted <= found.keys()
    assert found["MLflow"]["found"].startswith(str(tmp_home)) and not (tmp_home / "mlflow").exists()
    page = CliRunner().invoke(app, ["doctor"])
    assert page.exit_code == 0 and "nothing here keeps vidrd from its work" in page.stdout
    assert f"ffmpeg version {found['ffmpeg']['found'].split()[2]}" in page.stdout


def test_each_problem_is_named_and_none_hides_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = tmp_path / "file"
    taken.touch()
    profile = tmp_path / "mine.toml"
    profile.write_text('extends = "tiny"\nmodel = "./no-model"\n')
    monkeypatch.setenv("VIDRD_HOME", str(taken))
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "no-ffmpeg"))
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv(
        "PREFECT_SERVER_DATABASE_CONNECTION_URL", "postgresql+asyncpg://me:geheim@127.0.0.1:1/p"
    )
    done = CliRunner().invoke(app, ["doctor", "--profile", str(profile)])
    assert done.exit_code == 1 and "geheim" not in done.output
    for words in (
        f"problem  VIDRD_HOME         {taken}: is a file, not a folder",
        "set VIDRD_HOME to a folder that can be written",
        "problem  ffmpeg ",
        "RAY_ADDRESS: no Ray cluster answers at 127.0.0.1:1",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL: postgresql+asyncpg://127.0.0.1:1/p cannot be used",
        f"{tmp_path / 'no-model'}: there is no such folder",
        "ok       memory",
        "6 to mend first: ffmpeg, VIDRD_HOME, model of mine, Ray, Prefect's database, files of runs",
    ):
        assert words in done.stdout, done.stdout


def test_files_of_runs_are_written_and_read_back(registry_home: Path) -> None:
    found = examined()
    assert found["files of runs"]["found"].endswith("written, read back, deleted")
    left = [path for path in (registry_home / "mlflow" / "artifacts").rglob("*") if path.is_file()]
    assert not left
    artifacts = registry_home / "mlflow" / "artifacts"
    for path in sorted(artifacts.rglob("*"), reverse=True):
        path.rmdir()
    artifacts.rmdir()
    artifacts.write_text("in the way")
    assert "files cannot be kept at" in examined(problems=1)["files of runs"]["found"]


def test_packages_that_are_missing_or_of_another_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "broken_install-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.4\nName: broken-install\nVersion: 1\nRequires-Python: >=3.11\n"
        "Requires-Dist: numpy<1\nRequires-Dist: no-such-package\nRequires-Dist: not-asked; extra == 'more'\n"
        "Requires-Dist: typer\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    packages = list(machine.python("broken-install"))[1]
    assert packages.state == "problem" and "requirements.lock" in packages.do
    assert packages.found == f"numpy is {metadata.version('numpy')}, not <1; no-such-package is missing"


def test_the_limit_of_a_container(tmp_path: Path) -> None:
    assert machine.container_limit(tmp_path) is None
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("7\n")
    assert machine.container_limit(tmp_path) is None
    (tmp_path / "memory.max").write_text("5\n")
    assert machine.container_limit(tmp_path) == 0
    (tmp_path / "memory.max").write_text("19\n")
    assert machine.container_limit(tmp_path) == 12


def test_a_look_that_fails_is_a_problem_and_keeps_no_password() -> None:
    def ours() -> list[Finding]:
        raise StorageError("X: postgresql://me:geheim@host/db is away")

    def anothers() -> list[Finding]:
        raise RuntimeError("at http://me:geheim@host/\nand more")

    assert list(found_by("X", ours)) == [Finding("X", "problem", "X: postgresql://***@host/db is away")]
    (other,) = found_by("Y", anothers)
    assert other.state == "problem" and "geheim" not in other.found and "\n" not in other.found


def test_a_port_that_another_holds() -> None:
    with socket.create_server(("127.0.0.1", 4200)):
        found = examined()["port 4200"]
    assert found["state"] == "note" and found["do"] == "name another: vidrd up --prefect-port PORT"


class _Answering(BaseHTTPRequestHandler):
    """A server of others: it answers the version that it is told to, at the time that it is told."""

    version, password, late_s = PREFECT, "", 0.0

    def do_GET(self) -> None:
        from base64 import b64encode

        wanted = f"Basic {b64encode(self.password.encode()).decode()}"
        is_let_in = not self.password or self.headers.get("Authorization") == wanted
        body = json.dumps(self.version).encode() if is_let_in else b""
        self.send_response_only(200 if is_let_in else 401)
        self.send_header("Date", formatdate(time.time() - self.late_s, usegmt=True))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[tuple[str, type[_Answering]]]:
    class Handler(_Answering):
        pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}", Handler
        http.shutdown()
        thread.join()


def test_prefect_s_server(server: tuple[str, type[_Answering]], monkeypatch: pytest.MonkeyPatch) -> None:
    address, answers = server
    monkeypatch.setenv("PREFECT_API_URL", f"{address}/api")
    assert examined()["Prefect"]["found"] == f"{address}/api/admin, {PREFECT}"
    answers.version = "2.20.1"
    older = examined()["Prefect"]
    assert older["state"] == "note" and f"2.20.1; here is {PREFECT}" in older["found"]
    answers.password = "me:geheim"
    refused = examined(problems=1)["Prefect"]
    assert "refuses us (401)" in refused["found"] and "PREFECT_API_AUTH_STRING" in refused["do"]
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "me:geheim")
    assert examined()["Prefect"]["state"] == "note"
    answers.late_s = 3600
    assert "s off ours" in (late := examined(problems=1)["Prefect's clock"]["found"]) and int(
        late.split()[0]
    ) in (-3600, -3601)


def test_our_secrets_go_to_no_other_server(
    server: tuple[str, type[_Answering]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though a shell that was set up for our own servers still holds them: this one would let whoever has them in."""
    address, answers = server
    answers.password = f"vidrd:{secret('prefect')}"
    monkeypatch.setenv("PREFECT_API_URL", f"{address}/api")
    assert "refuses us" in examined(problems=1)["Prefect"]["found"]
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", answers.password)
    assert "refuses us" in examined(problems=1)["Prefect"]["found"]
    monkeypatch.delenv("PREFECT_API_URL")
    answers.password = f"vidrd:{secret('mlflow')}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "vidrd")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", secret("mlflow"))
    (found,) = servers.mlflow()
    assert found.state == "problem" and "refuses us" in found.found


def test_a_password_in_mlflows_address_is_used(
    server: tuple[str, type[_Answering]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, answers = server
    answers.version, answers.password = MLFLOW, "me:p@ss"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address.replace("//", "//me:p%40ss@"))
    (found,) = servers.mlflow()
    assert found.state == "ok" and "p%40ss" not in found.found


def test_a_server_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        address = f"127.0.0.1:{held.getsockname()[1]}"
    monkeypatch.setenv("PREFECT_API_URL", f"http://{address}/api")
    away = examined(problems=1)["Prefect"]
    assert f"http://{address}/api/admin/version does not answer" in away["found"]
    assert away["do"] == "start it, or unset PREFECT_API_URL"
