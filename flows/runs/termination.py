"""A run that is told to end does end, although a library that it is in may keep the signal waiting.

Ray's `wait` and `get`, and so the fit of its trainer, let a signal's handler run and then wait on: what the handler
raises comes out when they return, minutes later. Prefect's worker would kill such a run after half a minute.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

WITHIN_S = 6.0
_SIGNALS = {int(signal.SIGTERM), int(signal.SIGINT)}


@contextmanager
def ended_when_told(within_s: float = WITHIN_S) -> Iterator[None]:
    """End this process so long after SIGTERM or Ctrl-C when the block is not left by then.

    As a kill would, which builds and trainings survive. Where a command watches for signals already
    (`flows.cli.interrupts`), and outside the main thread, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    # Told of every signal that some handler in Python takes, even while the main thread never comes to run it.
    watched_by = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    if watched_by != -1:
        signal.set_wakeup_fd(watched_by)
        os.close(reading)
        os.close(writing)
        yield
        return
    is_left = threading.Event()
    threading.Thread(target=_end_after_signal, args=(reading, within_s, is_left), daemon=True).start()
    try:
        yield
    finally:
        is_left.set()
        signal.set_wakeup_fd(-1)
        os.close(writing)  # the thread reads to the end of it


def _end_after_signal(reading: int, within_s: float, is_left: threading.Event) -> None:
    with os.fdopen(reading, "rb", buffering=0) as signals:
        while told := signals.read(64):
            number = next((number for number in told if number in _SIGNALS), None)
            if number is not None and not is_left.wait(within_s):
                os._exit(128 + number)
