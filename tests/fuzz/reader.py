"""A worker process that is asked about one damaged corpus at a time, watched, and started again after its end."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TIME_LIMIT_S = 10.0


@dataclass(frozen=True)
class Outcome:
    """How one case ended: `rows`, `quarantined`, `refused`, or as no case may; `wrong` says what is not right."""

    ended: str
    wrong: tuple[str, ...]
    seconds: float


class Reader:
    """A worker and the lines that it writes."""

    def __init__(self, errors: Path) -> None:
        self._errors = errors
        self._start()

    def _start(self) -> None:
        # One thread each, as two workers share the processors; one arena, as each would count as 128 MB of memory.
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fuzz.worker"],
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, args=(self._process, self._lines), daemon=True).start()
        self._is_new = True

    @staticmethod
    def _listen(process: subprocess.Popen[str], lines: queue.SimpleQueue[str | None]) -> None:
        assert process.stdout
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    def read(self, folder: Path) -> Outcome:
        """Has the worker read a corpus; one that crashes or takes too long is started again.

        A decoder that dies is a source in quarantine: a build runs decoders in processes of their own. Whoever lists
        the sources is the build itself.
        """
        assert self._process.stdin
        with suppress(BrokenPipeError):  # its end shows below
            self._process.stdin.write(f"{folder}\n")
            self._process.stdin.flush()
        stage, started_s = "starting", time.monotonic()
        while True:
            limit_s = 120.0 if stage == "starting" and self._is_new else TIME_LIMIT_S
            try:
                line = self._lines.get(timeout=max(0.0, started_s + limit_s - time.monotonic()))
            except queue.Empty:
                self.close()
                self._start()
                return Outcome(
                    "hung", (f"nothing came of it for {TIME_LIMIT_S:.0f} s while {stage}",), TIME_LIMIT_S
                )
            if line is None:
                return self._died(stage, time.monotonic() - started_s)
            said: dict[str, Any] = json.loads(line)
            if stage == "starting":
                started_s, self._is_new = time.monotonic(), False
            stage = said["stage"]
            if stage == "ended":
                return Outcome(said["ended"], tuple(said["wrong"]), time.monotonic() - started_s)

    def _died(self, stage: str, seconds: float) -> Outcome:
        code = self._process.wait()
        said = self._errors.read_text(errors="replace").strip()[-500:]
        self._start()
        if stage == "decoding":
            return Outcome("decoder died", (), seconds)
        return Outcome("died", (f"exit code {code} while {stage}: {said}",), seconds)

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._process.pid

    def close(self) -> None:
        """Ends the worker."""
        self._process.kill()
        self._process.wait()
