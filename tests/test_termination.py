"""A run's process that is told to end does so, whatever keeps the signal from the code that would."""

import signal
import subprocess
import sys
import time

import pytest

# As Prefect's engine answers to SIGTERM in the process of a run.
PROGRAM = """
import hashlib, os, signal, sys, threading, time
from flows.runs.termination import ended_when_told
class TerminationSignal(BaseException): pass
def raise_it(number, frame):
    raise TerminationSignal
signal.signal(signal.SIGTERM, raise_it)
try:
    with ended_when_told({within_s}):
        {work}
except TerminationSignal:
    {answer}
    print("told of the end", flush=True)
"""
DEAF = {
    # Ready is said by another thread, so that the signal does not come before the main one computes.
    "computes where no handler runs": (
        "threading.Timer(0.5, print, ('ready',), {'flush': True}).start(); "
        "hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)"
    ),
    "drops what the handler raises": (
        "\n        while True:\n            try:\n                print('ready', flush=True); time.sleep(600)\n"
        "            except TerminationSignal: pass"
    ),
}


def _told_to_end(**parts: object) -> tuple[int, str, float]:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(**parts)], stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout.readline() == "ready\n"
        before_s = time.monotonic()
        program.send_signal(signal.SIGTERM)
        out, _ = program.communicate(timeout=60)
        return program.returncode, out, time.monotonic() - before_s


@pytest.mark.parametrize("work", DEAF.values(), ids=DEAF.keys())
def test_what_hears_nothing_is_ended(work):
    code, out, took_s = _told_to_end(within_s=0.5, work=work, answer="pass")
    assert code == 128 + signal.SIGTERM and "told" not in out and took_s < 30


def test_what_answers_has_all_the_time_it_wants():
    code, out, _ = _told_to_end(
        within_s=0.5, work="print('ready', flush=True); time.sleep(600)", answer="time.sleep(1.5)"
    )
    assert (code, out) == (0, "told of the end\n")


def test_a_command_that_watches_already_is_left_to_itself():
    program = (
        "import os, signal\n"
        "from flows.runs.termination import ended_when_told\n"
        "reading, writing = os.pipe()\n"
        "os.set_blocking(writing, False)\n"
        "signal.set_wakeup_fd(writing)\n"
        "with ended_when_told():\n"
        "    assert signal.set_wakeup_fd(writing) == writing\n"
        "assert signal.set_wakeup_fd(-1) == writing\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
