"""The guard: what a process has started ends with it, however it ends and however many parents have died between."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tasks import guard

# A child, and a grandchild whose parent is gone, in a session of its own.
PROGRAM = """
import os, subprocess, sys, time
from tasks.guard import guard_children
guard_children()
guard_children()
child = subprocess.Popen(["sleep", "600"])
orphan = subprocess.run(
    ["sh", "-c", "sleep 600 > /dev/null 2>&1 & echo $!"], start_new_session=True, capture_output=True, text=True
)
pids = [child.pid, orphan.stdout.strip()]
{deaf}
print(*pids, flush=True)
{end}
"""
# One that hears no SIGTERM; it is given five seconds, so that one test has to be enough for it.
DEAF = """
deaf = subprocess.Popen(["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"], stdout=subprocess.PIPE)
deaf.stdout.readline()
pids.append(deaf.pid)
"""
SLEEPS = PROGRAM.format(deaf="", end="time.sleep(600)")


def _started(text: str) -> tuple[subprocess.Popen, list[psutil.Process], list[psutil.Process]]:
    """The program, what it has started, and its guards."""
    program = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True)
    pids = [int(pid) for pid in program.stdout.readline().split()]
    started = [psutil.Process(pid) for pid in pids]
    guards = [child for child in psutil.process_iter() if guard.__file__ in _command_line(child)]
    guards = [one for one in guards if str(program.pid) in _command_line(one)]
    return program, started, guards


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.mark.parametrize("is_killed", [pytest.param(True, marks=[pytest.mark.slow, pytest.mark.gate]), False])
def test_nothing_outlives_the_process(is_killed):
    killed, left = (
        PROGRAM.format(deaf=DEAF, end="time.sleep(600)"),
        PROGRAM.format(deaf="", end="os._exit(0)"),
    )
    program, started, guards = _started(killed if is_killed else left)
    assert len(guards) <= 1  # asked for twice
    if is_killed:
        program.kill()
    program.wait()
    _, left = psutil.wait_procs([*started, *guards], timeout=30)
    assert not left


def test_neither_ctrl_c_nor_a_signal_to_the_group_ends_the_guard_before_its_work():
    program = subprocess.Popen(
        [sys.executable, "-c", SLEEPS],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    started = [psutil.Process(int(pid)) for pid in program.stdout.readline().split()]
    os.killpg(program.pid, signal.SIGKILL)
    program.wait()
    assert not psutil.wait_procs(started, timeout=30)[1]


def test_a_guarded_process_within_another_has_both_guards(tmp_path: Path):
    """Of the outer one too: what a flow run has started ends with the command that runs it."""
    inner = tmp_path / "inner.py"
    inner.write_text(SLEEPS)
    outer = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import subprocess, sys; from tasks.guard import guard_children; guard_children();"
            f"subprocess.run([sys.executable, {str(inner)!r}])",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    started = [psutil.Process(int(pid)) for pid in outer.stdout.readline().split()]
    family = psutil.Process(outer.pid).children(recursive=True)
    outer.kill()
    outer.wait()
    assert not psutil.wait_procs([*started, *family], timeout=30)[1]
