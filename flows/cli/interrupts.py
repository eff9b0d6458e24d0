"""Ctrl-C and SIGTERM: a command ends within ten seconds, and says in one line how it goes on.

The libraries have answers of their own to both signals, in words of their own, and some of them take their time. So
a thread hears of a signal whoever handles it, silences what is told of it, and ends the process when the others
have had their time; what is then left of its children ends with it (`tasks/guard.py`). Before the command's own work
has begun there is nothing to wait for, and a signal ends it there and then.
"""

from __future__ import annotations

import logging
import os
import shlex
import signal
import sys
import threading
import time

_STOP_WITHIN_S = 7.0
_ONE_TIME_S = 1.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_NUMBERS = {int(number) for number in _SIGNALS}


class Interrupts:
    """Watches for both signals from `watch` on; `command` is what the user typed."""

    def __init__(self, command: list[str]) -> None:
        self._line = f"interrupted; to go on: {shlex.join(command)}"
        self._heard = threading.Event()
        self._number = int(signal.SIGINT)
        self._terminal = -1
        self._at_work = self._has_raised = False
        self._hear_once, self._say_once = threading.Lock(), threading.Lock()

    @property
    def heard(self) -> bool:
        """Whether either signal has come."""
        return self._heard.is_set()

    @property
    def exit_code(self) -> int:
        """What a shell calls the end by that signal."""
        return 128 + self._number

    def watch(self) -> None:
        """Interrupt the main thread on both signals, also where a shell has started us with Ctrl-C ignored."""
        for number in _SIGNALS:
            signal.signal(number, self._interrupt)
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        # Told of every signal that some handler in Python takes, even while the main thread computes.
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        threading.Thread(target=self._listen, args=(reading,), daemon=True).start()

    def begin_work(self) -> None:
        """From now on the main thread is interrupted, and whoever called for the work says the line."""
        self._at_work = True

    def unwatch(self) -> None:
        """Leave both signals to the command."""
        signal.set_wakeup_fd(-1)

    def is_cause_of(self, error: BaseException) -> bool:
        """Whether an error came of a signal: by its kind, or because one has been heard."""
        if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "TerminationSignal":
            self._heard.wait(1.0)
        return self._heard.is_set() or isinstance(error, KeyboardInterrupt)

    def say(self) -> None:
        """Print the one line, once."""
        if self._say_once.acquire(blocking=False):
            os.write(self._terminal if self._terminal >= 0 else 2, f"{self._line}\n".encode())

    def _interrupt(self, number: int, _: object) -> None:
        self._hear(number)
        if not self._at_work:
            self._end()
        # Raised twice it would interrupt the answer to the first; the listener ends it then.
        if not self._has_raised:
            self._has_raised = True
            raise KeyboardInterrupt

    def _listen(self, reading: int) -> None:
        while not (numbers := set(os.read(reading, 64)) & _NUMBERS):
            pass
        self._hear(numbers.pop())
        timer = threading.Timer(_STOP_WITHIN_S, self._end)
        timer.daemon = True
        timer.start()
        first_s = time.monotonic()
        # Told a second time; service managers tell a process and its group at once, which is one time.
        while not set(os.read(reading, 64)) & _NUMBERS or time.monotonic() - first_s < _ONE_TIME_S:
            pass
        self._end()

    def _hear(self, number: int) -> None:
        """Note the signal, and silence what each library makes of it."""
        if not self._hear_once.acquire(blocking=False):
            self._heard.wait(1.0)  # the other thread is at it
            return
        self._number = number
        logging.disable(logging.CRITICAL)
        self._terminal = os.dup(2)
        with open(os.devnull, "wb") as nothing:
            for descriptor in (1, 2):  # Ray announces retries on standard output
                os.dup2(nothing.fileno(), descriptor)
        self._heard.set()

    def _end(self) -> None:
        self.say()
        os._exit(self.exit_code)


_current: Interrupts | None = None


def watch_imports() -> None:
    """Watch already while the modules of a command are imported; not in a program that only uses them."""
    global _current
    processes = sys.modules.get("multiprocessing.process")  # a spawned one imports its parent's program again
    is_child = processes is not None and processes.parent_process() is not None
    if _current is None and not is_child and _is_the_command(sys.argv[0]):
        _current = Interrupts(["vidrd", *sys.argv[1:]])
        _current.watch()


def _is_the_command(program: str) -> bool:
    """Whether this is `vidrd`, as installed, or `python -m flows.cli`."""
    beside = os.path.join(os.path.dirname(__file__), "__main__.py")
    return os.path.basename(program) == "vidrd" or os.path.realpath(program) == os.path.realpath(beside)


def watch(command: list[str]) -> Interrupts:
    """Watch for the rest of this process, under the first name that it is called by."""
    global _current
    if _current is None:
        _current = Interrupts(command)
        _current.watch()
    _current.begin_work()
    return _current


def unwatch() -> None:
    """For a command with an end of its own, such as `vidrd up`."""
    if _current is not None:
        _current.unwatch()
