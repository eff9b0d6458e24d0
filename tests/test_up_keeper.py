"""Children are kept: started again with pauses that grow, logs appended and rotated, a held port freed first."""

import os
import signal
import socket

import pytest

from flows.up.keeper import Keeper, pause_before_start_s
from flows.up.logs import open_log, rotate
from flows.up.ports import held_ports, port_of
from flows.up.processes import CHILD_MARK, end_marked, marked
from flows.up.servers import Child
from flows.up.services import ServiceError
from tests.up_children import free_port, runs, server_on, start_family, wait_until, web_server


@pytest.fixture
def keeper(tmp_home):
    """A keeper and the lines it says; whatever it started ends with the test."""
    lines: list[str] = []
    yield Keeper(tmp_home, lines.append), lines
    end_marked(tmp_home)


def pid_of(home, name):
    return next(iter(process.pid for process in marked(home, name)), None)


def look_until(keeper, holds, timeout_s=30.0):
    def looked() -> bool:
        keeper.look_after()
        return holds()

    wait_until(looked, timeout_s)


def test_a_killed_child_is_started_again_while_the_others_go_on(keeper, tmp_home):
    kept, lines = keeper
    one, two = web_server("one"), web_server("two")
    for child in (one, two):
        kept.start(child)
        kept.wait_until_healthy(child)
    first, other = pid_of(tmp_home, "one"), pid_of(tmp_home, "two")
    os.kill(first, signal.SIGKILL)
    look_until(kept, lambda: pid_of(tmp_home, "one") not in (first, None))
    kept.wait_until_healthy(one)
    assert pid_of(tmp_home, "two") == other
    assert [line for line in lines if "SIGKILL" in line and "one" in line and str(one.log) in line]
    log = one.log.read_text()
    assert log.count("vidrd up starts one") == 2  # appended: what it said before it died is still there


def test_the_pauses_grow_up_to_a_minute():
    assert [pause_before_start_s(ended) for ended in range(10)] == [1, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert pause_before_start_s(10**6) == 60


def test_a_child_that_ends_at_once_is_tried_again_and_again_and_later_each_time(keeper, tmp_home):
    kept, lines = keeper
    kept.start(Child("short", ("tests.up_children",)))  # which only defines things, and ends
    look_until(kept, lambda: len(lines) == 4)
    assert [line.split(" in ")[1].split(",")[0] for line in lines[1:]] == ["1 s", "2 s", "4 s"]


def test_what_a_dead_server_leaves_does_not_hold_its_port(keeper, tmp_home):
    kept, _ = keeper
    server = web_server("web")
    # As `prefect server start` does, this one serves from a process below it.
    code = (
        "import subprocess, sys;"
        f"subprocess.Popen([sys.executable, '-m', {', '.join(map(repr, server.arguments))}]).wait()"
    )
    module = tmp_home.parent / "parent_of_server.py"
    module.write_text(code)
    child = Child("web", ("parent_of_server",), server.health_url, {"PYTHONPATH": str(module.parent)})
    kept.start(child)
    kept.wait_until_healthy(child)
    first = next(one for one in marked(tmp_home, "web") if "parent_of_server" in one.cmdline())
    below = [one.pid for one in first.children()]
    first.kill()
    look_until(kept, lambda: not any(map(runs, below)))
    kept.wait_until_healthy(child)


def test_the_runs_of_a_dead_worker_are_not_ended(keeper, tmp_home):
    kept, _ = keeper
    kept.start(web_server("worker"))
    wait_until(lambda: pid_of(tmp_home, "worker") is not None)
    worker = pid_of(tmp_home, "worker")
    run, _ = start_family(tmp_home, **{CHILD_MARK: "worker", "PREFECT__FLOW_RUN_ID": "some-run"})
    leftover, _ = start_family(tmp_home, **{CHILD_MARK: "worker"})
    os.kill(worker, signal.SIGKILL)
    look_until(kept, lambda: leftover.poll() is not None)
    assert run.poll() is None
    kept.stop({"worker"}, patience_s=2)
    assert run.poll() is None
    run.kill()
    run.wait()


def test_what_ends_before_it_was_ever_well_is_an_error_that_names_the_log(keeper):
    kept, _ = keeper
    child = Child("web", ("no_such_module",), f"http://127.0.0.1:{free_port()}/")
    kept.start(child)
    with pytest.raises(ServiceError, match=r"web ended with code 1; see .*web\.log"):
        kept.wait_until_healthy(child)
    assert "no_such_module" in child.log.read_text()


def test_a_stopped_child_is_not_started_again(keeper, tmp_home):
    kept, _ = keeper
    kept.start(web_server("web"))
    kept.stop({"web"}, patience_s=5)
    kept.look_after()
    assert kept.names == set() and marked(tmp_home) == []


def test_a_proxy_is_not_asked_for_the_loopback(keeper, monkeypatch):
    kept, _ = keeper
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    child = web_server()
    kept.start(child)
    kept.wait_until_healthy(child)


def test_a_grown_log_is_put_aside_while_its_process_writes(tmp_path):
    path = tmp_path / "server.log"
    with open_log(path, "begins") as log:
        for number in range(1, 6):
            log.write(b"%d\n" % number * 100)
            rotate(path, max_bytes=50)
        log.write(b"at the end\n")
    assert path.read_bytes() == b"at the end\n"
    assert [(tmp_path / f"server.log.{n}").read_bytes()[:1] for n in (1, 2, 3)] == [b"5", b"4", b"3"]
    assert sorted(found.name for found in tmp_path.iterdir()) == [
        "server.log",
        *(f"server.log.{n}" for n in (1, 2, 3)),
    ]


def test_a_log_that_is_small_stays(tmp_path):
    path = tmp_path / "server.log"
    with open_log(path, "begins"):
        rotate(path)
    with open_log(path, "begins again"):
        pass
    assert [line.split(" ", 2)[2] for line in path.read_text().splitlines()] == ["begins", "begins again"]


def test_the_port_of_a_server_that_died_is_held_until_the_next_one_serves_on_it(keeper, tmp_home):
    kept, _ = keeper
    with held_ports({"--port": free_port()}) as (held,):
        server = server_on(held)
        kept.start(server)
        kept.wait_until_healthy(server)
        os.kill(pid_of(tmp_home, server.name), signal.SIGKILL)
        look_until(kept, lambda: pid_of(tmp_home, server.name) is None)
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", port_of(held)))
        with socket.create_connection(("127.0.0.1", port_of(held)), timeout=60) as early:
            early.sendall(b"GET / HTTP/1.0\r\n\r\n")
            look_until(kept, lambda: pid_of(tmp_home, server.name) is not None)
            assert early.recv(8) == b"HTTP/1.0"
