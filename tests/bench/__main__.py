"""Measures the project on this machine and prints tables: `python -m tests.bench [SECTION ...]`.

Each section runs in a process of its own, one after the other. A GPU has its own: `python -m tests.bench.gpu PART`;
so has what takes half an hour: `python -m tests.bench.decoder`.
"""

import os
import platform
import subprocess
import sys
import tempfile
from importlib import import_module

from flows.environment import prepare

SECTIONS = (
    "start",
    "steps",
    "unet",
    "operations",
    "train_step",
    "training",
    "loop",
    "guidance",
    "caching",
    "lockstep",
    "workers",
    "memory",
    "seams",
    "continuing",
    "rings",
    "changes",
    "edits",
    "decode",
    "decoding",
    "text",
    "shots",
    "build",
    "first_clips",
    "reading",
    "scale",
    "frechet",
    "features",
)


def main(names: list[str]) -> None:
    """Runs the named sections, or all."""
    unknown = set(names) - set(SECTIONS)
    if unknown:
        raise SystemExit(
            f"error: no such section: {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}"
        )
    cores, machine, python = os.cpu_count(), platform.machine(), platform.python_version()
    print(f"{cores} cores, {machine}, Python {python}\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="vidrd-bench-") as home:
        environment = os.environ | {"VIDRD_HOME": home}
        for name in names or SECTIONS:
            print(f"## {name}\n", flush=True)
            code = f"from tests.bench.__main__ import section; section({name!r})"
            subprocess.run([sys.executable, "-c", code], env=environment, check=True)
            print(flush=True)


def section(name: str) -> None:
    """One section, in this process; bars of loading models would stand between the rows."""
    prepare()
    import diffusers.utils.logging
    import transformers.utils.logging

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    import_module(f"tests.bench.{name}").main()


if __name__ == "__main__":
    main(sys.argv[1:])
