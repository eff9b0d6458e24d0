"""A pytest plugin that notes what tests cost: the seconds of each that passed, and of what it shares with others.

`python -m pytest -p tests.mutants.recorder` writes into the folder that `VIDRD_TESTS_RECORD` names a file for each of
its processes, a JSON object a line: `{"test", "seconds", "shared", "on_ray"}` or `{"fixture", "seconds"}`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest


class _Recorder:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._shared: dict[str, list[str]] = {}
        self._on_ray: dict[str, bool] = {}
        self._seconds: dict[str, float] = {}
        self._fixtures: dict[str, float] = {}
        self._failed: set[str] = set()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            assert isinstance(item, pytest.Function)
            known = item._fixtureinfo.name2fixturedefs
            shared = [
                definitions[-1] for definitions in known.values() if definitions[-1].scope != "function"
            ]
            self._shared[item.nodeid] = sorted(map(_key, shared))
            self._on_ray[item.nodeid] = "ray_session" in known

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Generator[None, Any, Any]:
        """Times what several tests share without what it takes from others, which is made before."""
        started_s = time.monotonic()
        try:
            return (yield)
        finally:
            if fixturedef.scope != "function":
                self._fixtures[_key(fixturedef)] = time.monotonic() - started_s

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        seconds = report.duration if report.when == "call" else 0.0
        self._seconds[report.nodeid] = self._seconds.get(report.nodeid, 0.0) + seconds
        if report.outcome != "passed":
            self._failed.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        rows: list[dict[str, Any]] = [
            {"fixture": name, "seconds": round(seconds, 3)} for name, seconds in self._fixtures.items()
        ]
        rows += [
            {
                "test": test,
                "seconds": round(seconds, 3),
                "shared": self._shared[test],
                "on_ray": self._on_ray[test],
            }
            for test, seconds in self._seconds.items()
            if test not in self._failed
        ]
        self._path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _key(fixture: Any) -> str:
    return f"{fixture.baseid}::{fixture.argname}"


def pytest_configure(config: pytest.Config) -> None:
    """Start to note where the variable is set, in each process that runs tests."""
    folder = os.environ.get("VIDRD_TESTS_RECORD")
    is_controller = not hasattr(config, "workerinput") and bool(getattr(config.option, "numprocesses", 0))
    if folder and not is_controller:
        name = os.environ.get("PYTEST_XDIST_WORKER", "alone")
        config.pluginmanager.register(_Recorder(Path(folder) / f"tests-{name}.jsonl"), "vidrd-recorder")
