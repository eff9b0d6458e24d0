"""`vidrd down`: ends the `vidrd up` of this `$VIDRD_HOME`, or what a killed one has left."""

from __future__ import annotations

import os
import signal
import time

from flows.up.lock import UpLock, holder
from flows.up.processes import end_marked
from flows.up.services import ServiceError, withdraw
from storage.local.home import home

PATIENCE_S = 60.0


def down() -> list[str]:
    """Ends everything that `vidrd up` started for this home and says what, one line each; none: nothing ran."""
    lock = UpLock()
    told = []
    if not lock.acquire():
        told.append(_end_supervisor(lock))
    try:
        told += [f"ended {line}" for line in end_marked(home())]
        withdraw()
    finally:
        lock.release()
    return told


def _end_supervisor(lock: UpLock) -> str:
    """Asks the `vidrd up` that holds the lock to end as Ctrl-C does, and makes it after a minute."""
    process_id = holder()
    if process_id is None:
        raise ServiceError(f"vidrd up is just starting or ending for {home()}; try again")
    if not process_id.is_here:
        raise ServiceError(
            f"vidrd up runs for {home()}, but not on this machine or in this container; end it there"
        )
    line = f"ended vidrd up, process {process_id.pid}"
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process_id.lives():
            os.kill(process_id.pid, number)
            os.kill(process_id.pid, signal.SIGCONT)  # a stopped one hears nothing else
        deadline_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline_s:
            if lock.acquire():
                return line
            time.sleep(0.2)
    raise ServiceError(f"vidrd up, process {process_id.pid}, does not end; end it by hand")
