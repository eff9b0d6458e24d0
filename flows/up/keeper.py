"""Keeps the children of `vidrd up` running: each is started again when it ends, after a pause that grows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flows.up.logs import open_log, rotate
from flows.up.processes import CHILD_MARK, FLOW_RUN, MARK, end, environment_of, marked
from flows.up.servers import REPOSITORY, Child
from flows.up.services import ServiceError

START_TIMEOUT_S = 600.0
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
WELL_AFTER_S = 120.0
_LOOK_EVERY_S = 0.5
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the loopback is not behind a proxy


@dataclass
class _Kept:
    child: Child
    process: subprocess.Popen[bytes]
    started_s: float
    ended_early: int = 0
    start_again_s: float | None = None


class Keeper:
    """The children of one `vidrd up`, in the order in which they were started."""

    def __init__(self, home: Path, say: Callable[[str], None]) -> None:
        self._home = home
        self._say = say
        self._kept: list[_Kept] = []

    def start(self, child: Child) -> None:
        """Starts a child, which is kept running from now on."""
        self._say(f"starting {child.name}, log in {child.log}")
        self._kept.append(_Kept(child, self._spawn(child), time.monotonic()))

    def wait_until_healthy(self, child: Child) -> None:
        """Waits for a child's first answer; ServiceError when it or another ends before, or it takes too long.

        What ends before it was ever well is set up wrongly: to start it again would only say so again.
        """
        if child.health_url is None:
            return
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not _answers(child.health_url):
            for kept in self._kept:
                if (code := kept.process.poll()) is not None:
                    raise ServiceError(f"{kept.child.name} {_how_it_ended(code)}; see {kept.child.log}")
            if time.monotonic() > deadline_s:
                raise ServiceError(f"{child.name} did not answer in {START_TIMEOUT_S:.0f} s; see {child.log}")
            time.sleep(_LOOK_EVERY_S)

    def look_after(self) -> None:
        """Starts again whoever has ended and waited for long enough; to be called every second or so."""
        for log in (self._home / "logs").glob("*.log"):
            rotate(log)
        for kept in self._kept:
            now_s = time.monotonic()
            if kept.start_again_s is not None:
                if now_s >= kept.start_again_s:
                    self._start_again(kept)
            elif (code := kept.process.poll()) is not None:
                self._plan_start(kept, code, now_s)

    def stop(self, names: set[str], patience_s: float) -> None:
        """Ends these children for good, all at once, with everything below them but the runs of a worker."""
        stopped = [kept for kept in self._kept if kept.child.name in names]
        self._kept = [kept for kept in self._kept if kept.child.name not in names]
        for kept in stopped:
            kept.process.terminate()
        deadline_s = time.monotonic() + patience_s
        for kept in stopped:
            try:
                kept.process.wait(timeout=max(0.0, deadline_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                kept.process.kill()
                kept.process.wait()
            self._end_rest(kept.child)

    @property
    def names(self) -> set[str]:
        """Who is kept."""
        return {kept.child.name for kept in self._kept}

    def _plan_start(self, kept: _Kept, code: int, now_s: float) -> None:
        kept.ended_early = 0 if now_s - kept.started_s > WELL_AFTER_S else kept.ended_early + 1
        pause_s = pause_before_start_s(kept.ended_early)
        kept.start_again_s = now_s + pause_s
        self._say(
            f"{kept.child.name} {_how_it_ended(code)}; it is started again in {pause_s:.0f} s, see {kept.child.log}"
        )

    def _start_again(self, kept: _Kept) -> None:
        self._end_rest(kept.child)
        try:
            kept.process = self._spawn(kept.child)
        except OSError as error:  # no memory or no process left: the next look tries again
            self._plan_start(kept, error.errno or 1, time.monotonic())
            return
        kept.started_s, kept.start_again_s = time.monotonic(), None

    def _end_rest(self, child: Child) -> None:
        """What a dead child leaves would hold its port. A worker's runs are left alone: they end by themselves."""
        end((one for one in marked(self._home, child.name) if not _is_of_a_run(one.pid)), patience_s=3.0)

    def _spawn(self, child: Child) -> subprocess.Popen[bytes]:
        """Starts a process in a session of its own, so that Ctrl-C reaches only us and we end it."""
        inherited = () if child.serves_on is None else (child.serves_on.fileno(),)
        with open_log(child.log, f"vidrd up starts {child.name}") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *child.arguments],
                cwd=REPOSITORY,
                env=os.environ | child.environment | {MARK: str(self._home), CHILD_MARK: child.name},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=inherited,
            )


def pause_before_start_s(ended_early: int) -> float:
    """How long to wait for what has ended so often in a row without having run for two minutes."""
    return min(FIRST_PAUSE_S * 2.0 ** min(max(0, ended_early - 1), 30), LONGEST_PAUSE_S)


def _is_of_a_run(pid: int) -> bool:
    return FLOW_RUN in (environment_of(pid) or {})


def _answers(url: str) -> bool:
    try:
        with _DIRECT.open(url, timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
