"""What a process starts ends with it, even when it is killed: a guard waits for its end and clears up.

`guard_children()` runs this file as a small process of its own session, which neither Ctrl-C nor a signal to the
group reaches. All that is started afterwards inherits a mark in its environment, by which the guard knows it however
many parents of it have died meanwhile: Prefect's server, Ray's processes, ffmpeg.
"""

import os
import subprocess
import sys
import time
import uuid
from contextlib import suppress

import psutil

_MARK = "VIDRD_GUARD"
_LOOK_S = 0.5
_FAMILY_EVERY_S = 5.0
_GRACE_S = 5.0
_guarded_pid: int | None = None


def guard_children() -> None:
    """Have everything that this process starts from now on ended some seconds after its own end, whatever ends it."""
    global _guarded_pid
    if _guarded_pid == os.getpid():  # a fork has to be guarded for itself
        return
    _guarded_pid = os.getpid()
    mark = uuid.uuid4().hex
    outer = os.environ.get(_MARK)
    # Isolated, so that nothing of ours is imported; with the outer marks only, since it looks for its own.
    subprocess.Popen(
        [sys.executable, "-I", __file__, str(_guarded_pid), mark],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.environ[_MARK] = f"{outer}:{mark}" if outer else mark


def _wait_and_clear_up(guarded_pid: int, mark: str) -> None:
    # Ray's workers write over their environment: they are known by having been seen.
    seen: set[psutil.Process] = set()
    looked_s = float("-inf")
    while os.getppid() == guarded_pid:
        if time.monotonic() - looked_s >= _FAMILY_EVERY_S:
            looked_s = time.monotonic()
            with suppress(psutil.Error):
                seen = set(psutil.Process(guarded_pid).children(recursive=True))
        time.sleep(_LOOK_S)
    deadline_s = time.monotonic() + _GRACE_S
    for process in _left(mark, seen):
        with suppress(psutil.Error):
            process.terminate()
    while left := _left(mark, seen):
        if time.monotonic() > deadline_s:
            for process in left:
                with suppress(psutil.Error):
                    process.kill()
        psutil.wait_procs(left, timeout=_LOOK_S)


def _left(mark: str, seen: set[psutil.Process]) -> list[psutil.Process]:
    """The processes that carry the mark, those that were seen, and theirs; one that has ended already is none."""
    found = []
    for process in psutil.process_iter():
        try:
            ours = process in seen or mark in process.environ().get(_MARK, "")
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found += [process, *process.children(recursive=True)]
        except psutil.Error:
            continue
    return [process for process in dict.fromkeys(found) if process.pid != os.getpid()]


if __name__ == "__main__":
    _wait_and_clear_up(int(sys.argv[1]), sys.argv[2])
