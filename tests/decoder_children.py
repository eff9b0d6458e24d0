"""What the tests have a decoder's process run in the place of a decoder; it imports nothing heavy, as that does not."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tasks.errors import ItemError


def die(how: int) -> Iterator[str]:
    yield "before"
    os.kill(os.getpid(), how)


def count_up(to: int) -> Iterator[int]:
    yield from range(to)


def say_what_it_is() -> Iterator[tuple[int, str, list[str]]]:
    yield os.getpid(), Path("/proc/self/oom_score_adj").read_text().strip(), sorted(sys.modules)


def sleep_on() -> Iterator[None]:
    yield
    time.sleep(600)


def refuse() -> Iterator[int]:
    yield 1
    raise ItemError("a.mp4: is no video", stage="decode")
