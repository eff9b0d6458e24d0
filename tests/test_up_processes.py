"""Who is ours: a process beyond its number, what a `vidrd up` has started, and that a killed one leaves nothing."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.up.down import down
from flows.up.lock import UpLock, holder
from flows.up.processes import CHILD_MARK, MARK, ProcessId, end_marked, marked
from flows.up.run_processes import Leftovers, WorkerRuns
from flows.up.supervisor import _guard
from tasks.errors import RequestError
from tests.up_children import ROOT, STUBBORN, runs, start_family, wait_until


@given(st.integers(1, 2**22), st.integers(0, 2**60), st.text("0123456789abcdef", min_size=10, max_size=10))
def test_a_process_is_read_back_as_it_was_written(pid, started, machine):
    assert ProcessId.parse(str(ProcessId(pid, started, machine))) == ProcessId(pid, started, machine)


@given(st.text(max_size=40))
def test_what_is_no_process_is_not_taken_for_one(text):
    found = ProcessId.parse(text)
    assert found is None or str(found).lstrip("0") == text.strip().lstrip("0")


def test_the_next_owner_of_a_number_is_another_process():
    me = ProcessId.of(os.getpid())
    assert me is not None and me.is_here and me.lives()
    assert not replace(me, started=me.started - 1).lives()
    assert not replace(me, machine="elsewhere").is_here


def test_a_killed_process_is_dead_before_anybody_has_asked_how_it_ended():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    process_id = ProcessId.of(process.pid)
    assert process_id is not None and process_id.lives()
    process.kill()
    wait_until(lambda: not process_id.lives())
    assert ProcessId.of(process.pid) is None  # a zombie: nobody has waited for it yet
    process.wait()


def test_everything_below_is_ours_in_any_session_and_under_any_parent_and_nothing_else(tmp_path):
    ours, grandchild = start_family(tmp_path / "home")
    others, their_grandchild = start_family(tmp_path / "home2")
    try:
        ours.kill()  # the grandchild has no parent of ours any more
        ours.wait()
        assert [process.pid for process in marked(tmp_path / "home")] == [grandchild]
        told = end_marked(tmp_path / "home")
        assert len(told) == 1 and str(grandchild) in told[0]
        assert not runs(grandchild)
        assert runs(others.pid) and runs(their_grandchild)
    finally:
        end_marked(tmp_path / "home2")
        others.wait()


def test_a_descendant_that_lost_its_mark_is_ours_by_descent(tmp_path):
    code = (
        "import os, subprocess, sys, time;"
        f"clean = {{name: value for name, value in os.environ.items() if name != '{MARK}'}};"
        "one = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], env=clean);"
        "print(one.pid, flush=True); time.sleep(600)"
    )
    parent, unmarked = start_family(tmp_path, code)
    (line,) = end_marked(tmp_path)
    assert "1 below it" in line
    assert not runs(unmarked)
    parent.wait()


def test_a_process_that_gives_itself_a_title_keeps_its_mark(tmp_path):
    # What setproctitle does, as Ray's processes: the title is written over the arguments and what follows them.
    code = (
        "import ctypes, time;"
        "fields = open('/proc/self/stat').read().rpartition(')')[2].split();"
        "begin, end = int(fields[45]), int(fields[46]) + 40;"
        "ctypes.memset(begin, 0, end - begin); ctypes.memmove(begin, b'ray::Title', 10);"
        "print(1, flush=True); time.sleep(600)"
    )
    titled, _ = start_family(tmp_path, code)
    assert Path(f"/proc/{titled.pid}/cmdline").read_bytes().startswith(b"ray::Title")
    assert [process.pid for process in marked(tmp_path)] == [titled.pid]
    end_marked(tmp_path)
    titled.wait()


def test_who_does_not_end_when_asked_is_ended(tmp_path):
    stubborn, _ = start_family(tmp_path, STUBBORN)
    end_marked(tmp_path, patience_s=0.5)
    assert not runs(stubborn.pid)


UP = """
import sys, time
from pathlib import Path
from flows.up.keeper import Keeper
from flows.up.supervisor import _guard
from tests.up_children import web_server
home = Path(sys.argv[1])
with _guard():
    keeper = Keeper(home, lambda line: None)
    keeper.start(web_server("one"))
    keeper.start(web_server("two"))
    print("up", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_killed_up_leaves_no_process(tmp_home, how):
    up = subprocess.Popen([sys.executable, "-c", UP, str(tmp_home)], cwd=ROOT, stdout=subprocess.PIPE)
    assert up.stdout is not None and up.stdout.readline() == b"up\n"
    wait_until(lambda: len(marked(tmp_home)) == 2)
    up.send_signal(how)
    up.wait()
    wait_until(lambda: not marked(tmp_home), timeout_s=20)


def ignores(pid: int, number: int) -> bool:
    (line,) = re.findall(r"SigIgn:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())
    return bool(int(line, 16) >> (number - 1) & 1)


def test_a_guard_that_is_asked_to_end_stays(tmp_home):
    guard = subprocess.Popen(
        [sys.executable, "-m", "flows.up.guard", str(tmp_home)], cwd=ROOT, stdin=subprocess.PIPE
    )
    ours, _ = start_family(tmp_home)
    wait_until(lambda: ignores(guard.pid, signal.SIGTERM))
    guard.terminate()
    assert guard.stdin is not None
    guard.stdin.close()
    assert guard.wait(timeout=30) == 0
    ours.wait(timeout=30)


def test_down_ends_what_is_left_and_names_it(tmp_home):
    ours, grandchild = start_family(tmp_home, VIDRD_UP_CHILD="mlflow")
    others, _ = start_family(tmp_home.parent / "other")
    try:
        assert down() == [f"ended mlflow, process {ours.pid} and 1 below it"]
        assert not runs(ours.pid) and not runs(grandchild)
        assert runs(others.pid)
        assert down() == []
    finally:
        end_marked(tmp_home.parent / "other")
        others.wait()


HOLDER = """
import signal, sys, time
from flows.up.lock import UpLock
lock = UpLock()
assert lock.acquire()
print(1, flush=True)
time.sleep(600)
"""


def test_down_ends_a_living_up_by_its_lock_and_not_by_a_number_that_a_file_tells(tmp_home):
    up = subprocess.Popen([sys.executable, "-c", HOLDER], cwd=ROOT, stdout=subprocess.PIPE)
    assert up.stdout is not None and up.stdout.readline() == b"1\n"
    assert not UpLock().acquire()
    assert holder() == ProcessId.of(up.pid)
    assert down() == [f"ended vidrd up, process {up.pid}"]
    assert up.wait() == -signal.SIGTERM
    # Now the file names a process that is not its holder: the lock is free, so nobody is asked to end.
    bystander, _ = start_family(tmp_home.parent / "other", STUBBORN.replace("SIG_IGN", "SIG_DFL"))
    (tmp_home / "up.lock").write_text(str(ProcessId.of(bystander.pid)))
    assert down() == []
    assert runs(bystander.pid)
    bystander.kill()
    bystander.wait()


def test_down_does_not_wait_for_an_up_that_is_stopped(tmp_home):
    up = subprocess.Popen([sys.executable, "-c", HOLDER], cwd=ROOT, stdout=subprocess.PIPE)
    assert up.stdout is not None and up.stdout.readline() == b"1\n"
    up.send_signal(signal.SIGSTOP)  # or Ctrl-Z
    asked_s = time.monotonic()
    assert down() == [f"ended vidrd up, process {up.pid}"]
    assert time.monotonic() - asked_s < 20
    assert up.wait() == -signal.SIGTERM


def test_a_removed_home_is_known_by_its_lock(tmp_home):
    lock, next_one = UpLock(), UpLock()
    assert lock.acquire() and lock.is_held()
    shutil.rmtree(tmp_home)
    assert not lock.is_held()
    assert next_one.acquire() and next_one.is_held()
    assert not lock.is_held()
    next_one.release()
    assert not next_one.is_held()


def test_a_home_that_cannot_be_written_is_named_in_one_line(tmp_home):
    tmp_home.mkdir()
    (tmp_home / "up.lock").mkdir()
    with pytest.raises(RequestError, match=f"VIDRD_HOME: {tmp_home} cannot be used: Is a directory"):
        down()
    shutil.rmtree(tmp_home)
    tmp_home.write_text("a file")
    with pytest.raises(RequestError, match=f"VIDRD_HOME: {tmp_home} cannot be used: File exists"):
        down()


def test_a_guard_that_cannot_be_started_again_is_tried_again(tmp_home):
    def guards() -> list[int]:
        found = [child.pid for child in psutil.Process().children() if runs(child.pid)]
        arguments = ["-m", "flows.up.guard", str(tmp_home)]
        return [pid for pid in found if psutil.Process(pid).cmdline()[-3:] == arguments]

    with _guard() as guard:
        wait_until(lambda: len(guards()) == 1)
        (tmp_home / "logs" / "guard.log").unlink()
        (tmp_home / "logs" / "guard.log").mkdir()  # as a full disk, which nobody can write to
        os.kill(guards()[0], signal.SIGKILL)
        wait_until(lambda: not guards())
        guard.look_after()
        assert not guards()
        (tmp_home / "logs" / "guard.log").rmdir()
        guard.look_after()
        wait_until(lambda: len(guards()) == 1)


def test_what_a_dead_run_has_left_is_ended_and_what_a_living_one_has_is_not(tmp_path):
    left, living = str(uuid4()), str(uuid4())
    sleeper = "import time; print(1, flush=True); time.sleep(600)"
    environment = {CHILD_MARK: "worker"}
    ray, _ = start_family(tmp_path, sleeper, **environment, PREFECT__FLOW_RUN_ID=left)
    other_ray, _ = start_family(tmp_path, sleeper, **environment, PREFECT__FLOW_RUN_ID=living)
    engine = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)", "prefect.engine"],
        env=os.environ | {"PREFECT__FLOW_RUN_ID": living},
    )
    try:
        runs_found, leftovers = WorkerRuns(), Leftovers(tmp_path)
        wait_until(lambda: runs_found.look() is None and runs_found.process_of(UUID(living)) is not None)
        assert leftovers.end(runs_found) == []  # it may be about to end by itself
        (line,) = leftovers.end(runs_found)
        assert str(ray.pid) in line and left in line
        assert not runs(ray.pid) and runs(other_ray.pid) and runs(engine.pid)
    finally:
        engine.kill()
        engine.wait()
        end_marked(tmp_path)
        for process in (ray, other_ray):
            process.wait()
