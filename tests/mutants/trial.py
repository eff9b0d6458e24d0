"""One fault tried: put into a copy of the project, the tests that reach it run there, and taken out again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.mutants.choice import Choice
from tests.mutants.faults import Fault

_START_S = 60.0
_SLOWER = 3.0
_SHARED = "shared"


@dataclass(frozen=True)
class Verdict:
    """Whether a fault was caught, by how many tests it was looked for, and the test that found it."""

    fault: Fault
    caught: bool
    tests: int
    by: str
    seconds: float


class Copy:
    """A copy of the project's files, in which faults are tried one after the other."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root = folder / "project"
        self._process: subprocess.Popen[str] | None = None
        shutil.rmtree(folder, ignore_errors=True)
        self.root.mkdir(parents=True)
        command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(command, check=True, capture_output=True)
        for name in names.stdout.decode().split("\0"):
            if name and (root / name).is_file():
                (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, self.root / name)
        if (root.parent / _SHARED).is_dir():  # goldens and media, where they lie beside the project
            (folder / _SHARED).symlink_to((root.parent / _SHARED).resolve())

    def try_fault(self, fault: Fault, choice: Choice) -> Verdict:
        """Runs the tests on the copy with the fault in it, until one fails or does not end."""
        started_s = time.monotonic()
        if not choice.tests:
            return Verdict(fault, False, 0, "no test reaches it", 0.0)
        path = self.root / fault.path
        source = path.read_text(encoding="utf-8")
        try:
            path.write_text(fault.applied_to(source), encoding="utf-8")
            by = self._first_failure([test.name for test in choice.tests], choice.seconds)
        finally:
            path.write_text(source, encoding="utf-8")
        return Verdict(fault, by is not None, len(choice.tests), by or "", time.monotonic() - started_s)

    def stop(self) -> None:
        """Ends the tests that are running, with all that they have started."""
        if self._process is not None:
            _kill(self._process)

    def _first_failure(self, tests: Sequence[str], seconds: float) -> str | None:
        # Names of tests hold what a shell or a limit on arguments would not take.
        with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as names:
            names.write("\n".join(tests))
            names.flush()
            command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--no-header"]
            # One thread each, as in `make test`; bytecode is told from that of another fault by the second alone.
            ours = {"PYTHONPATH": str(self.root), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
            self._process = process = subprocess.Popen(
                [*command, "--tb=no", f"@{names.name}"],
                cwd=self.root,
                env=os.environ | ours,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
            try:
                told, _ = process.communicate(timeout=_START_S + _SLOWER * seconds)
            except subprocess.TimeoutExpired:
                _kill(process)
                process.communicate()
                return "did not end"
        if process.returncode == 0:
            return None
        failed = [line for line in told.splitlines() if line.startswith(("FAILED ", "ERROR "))]
        return failed[0].split(" ", 1)[1] if failed else f"exit code {process.returncode}"


def _kill(process: subprocess.Popen[str]) -> None:
    with suppress(psutil.NoSuchProcess, ProcessLookupError):
        family = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGKILL)
        for child in family:
            with suppress(psutil.NoSuchProcess):
                child.kill()
