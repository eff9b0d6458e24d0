"""A process that has loaded the large libraries and forks for each run of tests, most of which take less than loading.

It loads nothing of the project, so that each fork reads the sources as they are then, and no library that has threads
of its own before it is used.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

LIBRARIES = (
    "pytest", "hypothesis", "numpy", "scipy.stats", "torch", "torchvision", "transformers", "open_clip", "PIL.Image",
)  # fmt: skip


class Forks:
    """Runs pytest in forks of one process, one at a time, in the folder `root` and with its modules."""

    def __init__(self, root: Path, libraries: Sequence[str] = LIBRARIES) -> None:
        # One thread each, as in `make test`. Bytecode of two faults could not be told apart within a second.
        ours = {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.mutants.forks", *libraries],
            cwd=root,
            env=os.environ | ours,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._running: int | None = None

    def run(self, arguments: Sequence[str], output: Path, within_s: float) -> int | None:
        """Gives pytest's exit code, whose words go to `output`; None when it did not end in time and was killed."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([*arguments, str(output)]).encode() + b"\n")
        self._process.stdin.flush()
        self._running = int(self._told())
        code: int | None = None
        try:
            if self._is_told(within_s):
                code = int(self._told())
            else:
                self.kill()
                self._told()
        finally:
            self._running = None
        return code

    def kill(self) -> None:
        """Ends what runs, with all that it has started; the next run has a fork of its own."""
        if self._running is None:
            return
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            family = psutil.Process(self._running).children(recursive=True)
            os.killpg(self._running, signal.SIGKILL)
            for child in family:
                with suppress(psutil.NoSuchProcess):
                    child.kill()

    def close(self) -> None:
        """Ends the process; to be called when nothing runs."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _is_told(self, within_s: float) -> bool:
        return bool(select.select([self._process.stdout], [], [], within_s)[0])

    def _told(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().decode().strip()
        if not line:
            raise RuntimeError("the process that forks for the tests has died")
        return line


def main() -> None:
    """Reads the arguments of a run a line; says the number of its process and, when it has ended, its exit code."""
    for name in sys.argv[1:]:
        importlib.import_module(name)
    answers = os.dup(1)
    os.dup2(2, 1)
    for line in sys.stdin:
        *arguments, output = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _be_pytest(arguments, output, answers)
        os.write(answers, f"{pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        os.write(answers, f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _be_pytest(arguments: list[str], output: str, answers: int) -> None:
    os.setsid()
    os.close(answers)
    nothing, written = (
        os.open(os.devnull, os.O_RDONLY),
        os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
    )
    for here, there in ((nothing, 0), (written, 1), (written, 2)):
        os.dup2(here, there)
    import pytest

    sys.argv = ["pytest", *arguments]
    sys.exit(int(pytest.main(arguments)))


if __name__ == "__main__":
    main()
