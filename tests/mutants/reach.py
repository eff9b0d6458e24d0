"""Which fast tests reach which line: taken once by running them all under coverage, and kept while no file changes.

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
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import coverage

PACKAGES = ("vidrd_model", "storage", "tasks", "flows")


@dataclass(frozen=True)
class TimedTest:
    """A fast test by its node id, the seconds of its own call, and whether it works on Ray."""

    name: str
    seconds: float
    on_ray: bool

    @property
    def file(self) -> str:
        """The file that it stands in."""
        return self.name.split("::")[0]


class Reach:
    """The tests that may notice a fault in a line."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._root, self._folder = root, folder
        self._imports: dict[str, set[str]] = {}

    @classmethod
    def take(cls, root: Path, folder: Path, workers: int) -> Reach:
        """The reach of the tests of `root`, taken anew where a source has changed since it was kept in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        stamp, digest = folder / "digest", _digest(root)
        if not stamp.is_file() or stamp.read_text() != digest:
            _run_all(root, folder, workers)
            stamp.write_text(digest)
        return cls(root, folder)

    @cached_property
    def tests(self) -> dict[str, TimedTest]:
        """Every test that passed, by name."""
        rows = [
            json.loads(line)
            for path in self._folder.glob("tests-*.jsonl")
            for line in path.read_text().splitlines()
        ]
        return {row["test"]: TimedTest(row["test"], row["seconds"], row["on_ray"]) for row in rows}

    def of(self, path: str, line: int) -> list[TimedTest]:
        """The tests that reach a line, the fastest first; else those that may through Ray or other processes."""
        lines = self._lines(path)
        direct = lines.get(line, set())
        if not direct:
            near = set().union(*lines.values()) if lines else set()
            on_ray = {
                test.name
                for test in self.tests.values()
                if test.on_ray and path in self._reachable_files(test.file)
            }
            ordered = [sorted(on_ray, key=self._cost), sorted(near - on_ray, key=self._cost)]
            return [self.tests[name] for names in ordered for name in names]
        return [self.tests[name] for name in sorted(direct, key=self._cost)]

    def _cost(self, name: str) -> tuple[float, str]:
        return self.tests[name].seconds, name

    @cached_property
    def _data(self) -> list[coverage.CoverageData]:
        found = []
        for path in sorted(self._folder.glob("coverage-*")):
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


def _digest(root: Path) -> str:
    digest = hashlib.sha256()
    for name in tracked(root, (*PACKAGES, "tests")):
        digest.update(name.encode() + b"\0" + (root / name).read_bytes() + b"\0")
    return digest.hexdigest()


def _run_all(root: Path, folder: Path, workers: int) -> None:
    for path in (*folder.glob("coverage-*"), *folder.glob("tests-*.jsonl")):
        path.unlink()
    files = [name for name in tracked(root, ("tests",)) if Path(name).name.startswith("test_")]
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda i: _run_part(root, folder, i, files[i::workers]), range(workers)))


def _run_part(root: Path, folder: Path, number: int, files: Sequence[str]) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.mutants.recorder", "-p", "no:cacheprovider"]
    command += [f"--cov={name}" for name in PACKAGES]
    environment = os.environ | {
        "COVERAGE_FILE": str(folder / f"coverage-{number}"),
        "VIDRD_TESTS_RECORD": str(folder / f"tests-{number}.jsonl"),
    }
    with open(folder / f"log-{number}.txt", "w", encoding="utf-8") as log:
        subprocess.run(
            [*command, "--cov-context=test", "--cov-report=", *files],
            cwd=root,
            env=environment,
            stdout=log,
            stderr=log,
            check=False,  # a failing test reaches nothing: it is left out
        )
