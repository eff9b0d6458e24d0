"""Runs the main job on the embedded profile: from media files to a promoted model, videos and a report.

python -m flows.demo        (also: make demo, vidrd demo)

All it makes lies under $VIDRD_HOME/demo (by default runs/ of the checkout). A second run goes on from the
first: nothing is encoded twice, and its new candidate has to beat the champion.
"""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import Any

from flows.cli.interrupts import watch
from flows.demo.stages import MemoryWatch, StageLog, short_path
from flows.environment import prepare
from flows.terminal import tell
from storage.local.home import home, set_home

NUM_STAGES = 9


def main(command: tuple[str, ...] = ("make", "demo")) -> int:
    """Runs the demo, which `command` starts again, and returns the exit code.

    A failure is one line here and a traceback in demo.log.
    """
    interrupts = watch([*command])
    folder = _prepare()
    try:
        run_demo(folder)
    except BaseException as failure:
        if interrupts.is_cause_of(failure):
            interrupts.say()
            return interrupts.exit_code
        if not isinstance(failure, Exception):
            raise
        log = folder / "demo.log"
        log.write_text("".join(traceback.format_exception(failure)), encoding="utf-8")
        tell(f"error: {failure} (details: {short_path(log)})")
        return 1
    return 0


def _prepare() -> Path:
    """Points everything at the demo's own folder, so that its model registry is nobody else's."""
    folder = home() / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    set_home(folder)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    prepare()
    return folder


def run_demo(folder: Path) -> dict[str, Any]:
    """Runs every stage and returns what demo.json holds; raises StageFailed."""
    for stale in ("demo.json", "report.html", "demo.log"):
        (folder / stale).unlink(missing_ok=True)
    memory = MemoryWatch()
    log = StageLog(NUM_STAGES, memory)
    log.say(f"vidrd demo: {NUM_STAGES} stages on {os.cpu_count()} cores, into {short_path(folder)}")
    with memory:
        summary = _run_stages(folder, log)
    log.say(f"done in {summary['seconds_total']:.0f} s; at most {memory.peak_bytes / 1e9:.2f} GB. Look at")
    for path in (folder / "report.html", folder / "samples", folder / "demo.json"):
        log.say(f"  {short_path(path)}")
    return summary


def _run_stages(folder: Path, log: StageLog) -> dict[str, Any]:
    with log.stage("start", "the libraries, and a Ray session for this run") as out:
        # Imported here: these seconds are part of the run, and Ctrl-C in them ends it with a line as later.
        from flows.demo.run import run_stages, start
        from tasks.cluster import shutdown_ray

        start(out)
    try:
        return run_stages(folder, log)
    finally:
        shutdown_ray()
