"""The process that outlives a killed `vidrd up` by a moment: `python -m flows.up.guard HOME`.

Its standard input is a pipe that `vidrd up` holds open. The kernel closes it when `vidrd up` ends in whatever way, kill
-9 and the out-of-memory killer included, and then the guard ends all that is left of it.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from flows.up.processes import end_marked


def main(home: Path) -> None:
    """Waits until the other end of standard input is closed, then ends what a `vidrd up` of this home left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # it ends with vidrd up, not before
        signal.signal(number, signal.SIG_IGN)
    while sys.stdin.buffer.read(4096):
        pass
    for line in end_marked(home):
        print(f"vidrd up is gone: ended {line}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
