"""One fault tried: put into a copy of the project, the tests that reach it run there, and taken out again."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.choice import Choice
from tests.mutants.faults import Fault
from tests.mutants.forks import LIBRARIES, Forks

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

    def __init__(self, root: Path, folder: Path, libraries: Sequence[str] = LIBRARIES) -> None:
        self.root = folder / "project"
        self._libraries = libraries
        self._forks: Forks | None = None
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
        if self._forks is not None:
            self._forks.kill()

    def close(self) -> None:
        """Ends the process that the tests are forked from; to be called when none is running."""
        if self._forks is not None:
            self._forks.close()
            self._forks = None

    def _first_failure(self, tests: Sequence[str], seconds: float) -> str | None:
        if self._forks is None:
            self._forks = Forks(self.root, self._libraries)
        # Names of tests hold what a limit on arguments would not take.
        names, told = self.root.parent / "tests.txt", self.root.parent / "told.txt"
        names.write_text("\n".join(tests), encoding="utf-8")
        arguments = ["-x", "-q", "-p", "no:cacheprovider", "--no-header", "--tb=no", f"@{names}"]
        code = self._forks.run(arguments, told, _START_S + _SLOWER * seconds)
        if code is None:
            return "did not end"
        if code == 0:
            return None
        lines = told.read_text(encoding="utf-8", errors="replace").splitlines()
        failed = [line for line in lines if line.startswith(("FAILED ", "ERROR "))]
        return failed[0].split(" ", 1)[1] if failed else f"exit code {code}"
