"""A pytest plugin that notes of every passed test how long it took and whether it works on Ray.

`python -m pytest -p tests.mutants.recorder` writes into the file that `VIDRD_TESTS_RECORD` names, a JSON object a line.
"""

from __future__ import annotations

import json
import os

import pytest

_RAY = {"ray_session", "workers"}


class _Recorder:
    def __init__(self, path: str) -> None:
        self._path = path
        self._on_ray: dict[str, bool] = {}
        self._seconds: dict[str, float] = {}
        self._failed: set[str] = set()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            self._on_ray[item.nodeid] = bool(_RAY & set(getattr(item, "fixturenames", ())))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # A session fixture's set-up is paid by whichever test comes first.
        seconds = report.duration if report.when == "call" else 0.0
        self._seconds[report.nodeid] = self._seconds.get(report.nodeid, 0.0) + seconds
        if report.outcome != "passed":
            self._failed.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        with open(self._path, "a", encoding="utf-8") as file:
            for test, seconds in self._seconds.items():
                if test not in self._failed:
                    row = {
                        "test": test,
                        "seconds": round(seconds, 3),
                        "on_ray": self._on_ray.get(test, False),
                    }
                    file.write(json.dumps(row) + "\n")


def pytest_configure(config: pytest.Config) -> None:
    """Start to note where the variable is set."""
    if path := os.environ.get("VIDRD_TESTS_RECORD"):
        config.pluginmanager.register(_Recorder(path), "vidrd-recorder")
