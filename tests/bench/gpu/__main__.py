"""Measures one part at Stable Diffusion 2.1's size on a GPU, and prints a table.

    python -m tests.bench.gpu passes|sampling|training [--seconds 150] [--json FILE]
    python -m tests.bench.gpu build --videos FOLDER [--clips 1000] [--precision bfloat16] [--decoders 15]

Each part is of use alone and ends after `--seconds`; what compiles comes last. The rows are written to the file as they
are measured, with the card's name. No weights are needed: they are random, which costs the same time and memory.
Needed are torch, diffusers, transformers, pydantic, filelock and PyAV; for `training` ray and lance, which the engine
imports; for `build` open_clip, OpenCV, Pillow, pi-heif, scenedetect, fsspec, pyarrow and safetensors. FOLDER holds
short videos. `--tiny` runs a part on a CPU, to see that it runs.
"""

from __future__ import annotations

import argparse
import os
from importlib import import_module
from pathlib import Path

import torch

from tests.bench.gpu.record import OutOfTime, Record
from tests.bench.gpu.size import REAL, TINY

PARTS = ("passes", "sampling", "training", "build")


def main(arguments: list[str] | None = None) -> None:
    """Runs the part that is named."""
    asked = _arguments(arguments)
    if not torch.cuda.is_available() and not asked.tiny:
        raise SystemExit("error: no CUDA device: this bench is for a GPU; --tiny runs on a CPU")
    if asked.part == "build" and asked.videos is None:
        raise SystemExit("error: build needs --videos FOLDER, a folder of short videos")
    torch.manual_seed(0)
    record = Record(asked.part, asked.json, asked.seconds)
    part = import_module(f"tests.bench.gpu.{asked.part}")
    try:
        with record.time_limit():
            part.run(record, TINY if asked.tiny else REAL, asked)
    except OutOfTime:
        record.note(f"stopped after {asked.seconds:g} s")


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--seconds", type=float, default=150.0, help="after which the part ends")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the rows are written too")
    parser.add_argument("--tiny", action="store_true", help="small models, on a CPU")
    parser.add_argument("--videos", type=Path, metavar="FOLDER", help="of build: short videos")
    parser.add_argument("--clips", type=int, default=1000, help="of build")
    parser.add_argument("--precision", choices=("float32", "tf32", "bfloat16"), default="bfloat16")
    parser.add_argument("--decoders", type=int, default=max(1, (os.cpu_count() or 2) - 1))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
