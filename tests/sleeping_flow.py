"""A flow that does nothing for as long as it is told, and says so: what a worker runs while it is being killed."""

import time

from prefect import flow


@flow(name="sleep")
def sleep(seconds: float = 3600.0) -> None:
    """Prints a line every half second."""
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        print("asleep", flush=True)
        time.sleep(0.5)
