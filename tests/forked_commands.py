"""Commands in processes of their own, forked where the command line has been imported: once in place of once each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_PROGRAM = """
import json, os, sys, tempfile
from flows.cli.app import main
import flows.profile
for number, arguments in enumerate(json.loads(sys.argv[1])):
    files = [tempfile.TemporaryFile("w+") for _ in range(2)]
    child = os.fork()
    if not child:
        os.environ["VIDRD_HOME"] = os.path.join(sys.argv[2], str(number))
        for stream, file in enumerate(files, 1):
            os.dup2(file.fileno(), stream)
        sys.argv = ["vidrd", *arguments]
        main()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    said = [file.seek(0) or file.read() for file in files]
    print(json.dumps([code, *said]), flush=True)
"""
_PROJECT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said."""

    code: int
    stdout: str
    stderr: str


def run_forked(commands: Sequence[Sequence[str]], homes: Path, cwd: Path) -> list[Ended]:
    """Runs commands one after another in a folder, each with a `$VIDRD_HOME` of its own below another one."""
    environment = os.environ | {"COLUMNS": "120", "PYTHONPATH": str(_PROJECT)}
    environment.pop("PREFECT_HOME", None)  # conftest's: a command has to find its own
    program = [sys.executable, "-c", _PROGRAM, json.dumps([list(one) for one in commands]), str(homes)]
    done = subprocess.run(program, env=environment, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [Ended(*json.loads(line)) for line in done.stdout.splitlines()]
