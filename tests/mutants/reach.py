"""Which fast tests reach which line: taken once for each state of the files, by running them all under coverage.

Lines that only workers of Ray and other processes execute are not seen by it; for those the tests count that come to
the same file, and the tests on Ray whose own file imports it, directly or through others.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import coverage

from tests.mutants.choice import BUDGET_S, Choice, TimedTest

PACKAGES = ("vidrd_model", "storage", "tasks", "flows")


class Reach:
    """The tests that may notice a fault in a line."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._root, self._folder = root, folder
        self._imports: dict[str, set[str]] = {}

    @classmethod
    def take(cls, root: Path, folder: Path, processes: int) -> Reach:
        """The reach of the tests of `root`; `folder` keeps one for each state of its files that it was taken of."""
        kept = folder / state_digest(root)
        if not (kept / "whole").is_file():
            print(
                f"running every fast test under coverage, in {processes} processes: once for this state",
                flush=True,
            )
            kept.mkdir(parents=True, exist_ok=True)
            _run_all(root, kept, processes)
            (kept / "whole").touch()
        return cls(root, kept)

    @cached_property
    def tests(self) -> dict[str, TimedTest]:
        """Every test that passed, by name."""
        return {
            row["test"]: TimedTest(row["test"], row["seconds"], row["on_ray"], tuple(row["shared"]))
            for row in self._rows
            if "test" in row
        }

    def of(self, path: str, line: int) -> Choice:
        """The tests to run on a fault in a line: of those that reach it, else of those that may out of sight."""
        lines = self._lines(path)
        near = {test.file for test in self.tests.values() if path in imported_files(self._root, test.file)}
        choice = Choice(self._fixtures_s)
        if direct := lines.get(line):
            choice.add([self.tests[name] for name in direct], near)
            return choice
        of_file = set().union(*lines.values())
        # In this process a line is out of sight that is executed as the file is imported, or in other processes only.
        choice.add([self.tests[name] for name in of_file], near, BUDGET_S / 2)
        on_ray = [
            test for test in self.tests.values() if test.on_ray and path in self._reachable_files(test.file)
        ]
        choice.add(on_ray, near)
        return choice

    @cached_property
    def _rows(self) -> list[dict[str, Any]]:
        return [
            json.loads(line)
            for path in sorted(self._folder.glob("tests-*.jsonl"))
            for line in path.read_text(encoding="utf-8").splitlines()
        ]

    @cached_property
    def _fixtures_s(self) -> dict[str, float]:
        seconds: dict[str, float] = {}
        for row in self._rows:
            if "fixture" in row:
                seconds[row["fixture"]] = max(row["seconds"], seconds.get(row["fixture"], 0.0))
        return seconds

    @cached_property
    def _data(self) -> list[coverage.CoverageData]:
        found = []
        for path in sorted(self._folder.glob("coverage*")):
            data = coverage.CoverageData(str(path))
            data.read()
            found.append(data)
        return found

    def _lines(self, path: str) -> dict[int, set[str]]:
        reached: dict[int, set[str]] = {}
        for data in self._data:
            for line, contexts in data.contexts_by_lineno(str(self._root / path)).items():
                names = {context.rsplit("|", 1)[0] for context in contexts}
                reached.setdefault(line, set()).update(name for name in names if name in self.tests)
        return reached

    def _reachable_files(self, path: str) -> set[str]:
        """The files that a file imports, also through others."""
        if path not in self._imports:
            self._imports[path], open_files = set(), [path]
            while open_files:
                for found in imported_files(self._root, open_files.pop()):
                    if found not in self._imports[path]:
                        self._imports[path].add(found)
                        open_files.append(found)
        return self._imports[path]


@cache  # else each file of tests is read and parsed for each of its tests and each fault
def imported_files(root: Path, path: str) -> set[str]:
    """The project's own files that a file imports, wherever in it the import stands."""
    names = set()
    for node in ast.walk(ast.parse((root / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    places = (name.replace(".", "/") for name in names if name.split(".")[0] in (*PACKAGES, "tests"))
    return {
        file
        for place in places
        for file in (f"{place}.py", f"{place}/__init__.py")
        if (root / file).is_file() and file != path
    }


def tracked(root: Path, under: Iterable[str]) -> list[str]:
    """The Python files below some folders that belong to the project."""
    command = ["git", "-C", str(root), "ls-files", *under]
    files = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [name for name in files if name.endswith(".py") and (root / name).is_file()]


def state_digest(root: Path) -> str:
    """Names the state of the project's Python files, those of the tests among them."""
    digest = hashlib.sha256()
    for name in tracked(root, (*PACKAGES, "tests")):
        digest.update(name.encode() + b"\0" + (root / name).read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _run_all(root: Path, folder: Path, processes: int) -> None:
    for path in (*folder.glob("coverage*"), *folder.glob("tests-*.jsonl")):
        path.unlink()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.mutants.recorder", "-p", "no:cacheprovider"]
    command += ["--numprocesses", str(processes), "--dist", "loadfile", "--no-loadscope-reorder"]
    command += [*(f"--cov={name}" for name in PACKAGES), "--cov-context=test", "--cov-report="]
    environment = os.environ | {
        "COVERAGE_FILE": str(folder / "coverage"),
        "OMP_NUM_THREADS": "1",
        "VIDRD_TESTS_RECORD": str(folder),
    }
    # The tests of this tool ask git for the files, and in a copy it knows none. A failing test is left out too.
    command += ["--ignore=tests/test_mutants.py"]
    done = subprocess.run(command, cwd=root, env=environment, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(
            f"error: the fast tests could not be run: pytest ended with exit code {done.returncode}"
        )
