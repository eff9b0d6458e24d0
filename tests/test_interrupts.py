"""Ctrl-C and SIGTERM: every command ends within ten seconds, in one line, and leaves no process."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

LIMIT_S = 10.0

# What libraries do when they are interrupted: they tell it, take their time, and end with an error of their own.
PROGRAM = """
import atexit, hashlib, logging, sys, time
from flows.cli.interrupts import watch
interrupts = watch(["vidrd", "retrain", "--dataset", "my data"])
def work():
    print("ready", flush=True)
    {work}
try:
    work()
except BaseException as error:
    if not interrupts.is_cause_of(error):
        raise
    interrupts.say()
    sys.exit(interrupts.exit_code)
"""
WORK = {
    "sleeps": "time.sleep(600)",
    "computes where no handler runs": "hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)",
    "tells and raises": (
        "\n    try:\n        time.sleep(600)\n    except KeyboardInterrupt:\n"
        "        logging.error('Crash detected!'); print('retrying', file=sys.stderr)\n"
        "        print('retrying', flush=True); raise ValueError('lost')"
    ),
    "hangs at its end": "atexit.register(time.sleep, 600); time.sleep(600)",
    "hears nothing": "\n    while True:\n        try:\n            time.sleep(600)\n        except BaseException: pass",
}


# Seconds each: of these two are shown one signal, and one only in the slow tests.
_WAITED_FOR = [
    ("computes where no handler runs", signal.SIGTERM),
    ("hangs at its end", signal.SIGTERM),
    ("hears nothing", signal.SIGINT),
    ("hears nothing", signal.SIGTERM),
]
SIGNALS = [
    pytest.param(
        work, number, marks=[pytest.mark.slow] * ((name, number) in _WAITED_FOR), id=f"{name}-{number.name}"
    )
    for name, work in WORK.items()
    for number in (signal.SIGINT, signal.SIGTERM)
]


@pytest.mark.parametrize(("work", "number"), SIGNALS)
def test_a_signal_ends_any_work_in_one_line(work, number):
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(work=work)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout.readline() == "ready\n"
        before_s = time.monotonic()
        program.send_signal(number)
        out, told = program.communicate(timeout=60)
        took_s = time.monotonic() - before_s
    assert (out, told) == ("", "interrupted; to go on: vidrd retrain --dataset 'my data'\n")
    assert program.returncode == 128 + number
    assert took_s < LIMIT_S


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_the_command_line_passes_on_what_its_library_makes_of_it(number):
    """It takes an interrupt for an exit of its own, which is told in one line all the same."""
    program = """
import sys, time
from flows.cli.app import app, main
@app.command()
def rest():
    print("ready", flush=True)
    time.sleep(600)
sys.argv = ["vidrd", "rest"]
main()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        out, told = process.communicate(timeout=60)
    assert (out, told) == ("", "interrupted; to go on: vidrd rest\n")
    assert process.returncode == 128 + number


def test_a_second_signal_ends_it_at_once():
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(work=WORK["hears nothing"])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        program.stdout.readline()
        before_s = time.monotonic()
        while time.monotonic() < before_s + 60 and program.poll() is None:
            program.send_signal(signal.SIGINT)
            try:
                program.wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                continue
        assert time.monotonic() - before_s < 4
        assert program.stderr.read().count("interrupted") == 1


# The command itself, with one more that does nothing but wait; and one whose libraries are slow to import.
COMMAND = """
import sys, time
from flows.cli.app import app, main
@app.command("wait")
def wait():
    print("ready", flush=True)
    time.sleep(600)
sys.argv = ["vidrd", "wait"]
main()
"""
IMPORTING = """
import sys, time
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            print("ready", flush=True)
            time.sleep(600)
sys.meta_path.insert(0, Slow())
sys.argv = ["/usr/bin/vidrd", "wait"]
from flows.cli.app import main
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("program", [COMMAND, IMPORTING], ids=["at work", "importing"])
def test_the_command_says_its_line_wherever_a_signal_finds_it(program, times, number):
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as command:
        assert command.stdout.readline() == "ready\n"
        for _ in range(times):
            command.send_signal(number)
        told = command.communicate(timeout=60)
    assert told == ("", "interrupted; to go on: vidrd wait\n")
    # By the second one the interpreter may be taken at its very end: a shell shows the same number.
    assert command.returncode in (128 + number, -number)


def _run(*arguments: str, home: Path) -> subprocess.Popen:
    environment = os.environ | {"VIDRD_HOME": str(home)}
    environment.pop("PREFECT_HOME", None)
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


HOW = {
    "ctrl-c": lambda pid: os.killpg(pid, signal.SIGINT),  # as a terminal sends it
    "sigterm": lambda pid: os.kill(pid, signal.SIGTERM),
    "sigterm to all": lambda pid: os.killpg(pid, signal.SIGTERM),  # as a service manager sends it
    "kill -9": lambda pid: os.kill(pid, signal.SIGKILL),
    "kill -9 of all": lambda pid: os.killpg(pid, signal.SIGKILL),
}


@pytest.mark.slow
@pytest.mark.parametrize("how", HOW.values(), ids=HOW.keys())
@pytest.mark.parametrize("command", ["build-dataset", "retrain"])
def test_a_command_ends_and_leaves_nothing(command, how, tmp_path, request):
    arguments, line = [command], r"\[build-dataset\] [1-9]\d*/"  # some sources are done: Ray is at it
    if command == "retrain":
        dataset = request.getfixturevalue("training_clips")
        arguments, line = ["retrain", "--dataset", str(dataset), "--part=temporal"], "loss"
    with _run(*arguments, home=tmp_path / "home") as process:
        lines = iter(process.stdout.readline, "")
        before: list[str] = []
        while not before or not re.search(line, before[-1]):
            before.append(next(lines, ""))
            assert before[-1], f"it ended before it was interrupted: {''.join(before)}"
        family = [(child, child.cmdline()) for child in psutil.Process(process.pid).children(recursive=True)]
        before_s = time.monotonic()
        how(process.pid)
        process.wait(timeout=60)
        took_s = time.monotonic() - before_s
        rest = "".join(lines)
    left = psutil.wait_procs([process for process, _ in family], timeout=30)[1]
    assert not left, [name for process, name in family if process in left]
    assert len(family) > 5
    if process.returncode == -signal.SIGKILL:
        return
    assert process.returncode in (128 + signal.SIGINT, 128 + signal.SIGTERM)
    assert took_s < LIMIT_S
    told = [line for line in rest.splitlines() if not line.startswith("[")]
    assert told == [f"interrupted; to go on: vidrd {' '.join(arguments)}"]
