"""Clips that take each step together beside clips one after another: time, memory, and how far the videos are apart."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from tests.bench.memory import peak_bytes, reset_peak
from tests.bench.tables import print_head, print_row

LENGTHS = (1, 3, 10, 30)
AT_ONCE = 8
STEPS = 10


def main() -> None:
    """Prints a row per length, and how far apart the frames are in half precision."""
    print(
        f"The tiny profile's model, {STEPS} steps, latents only; one clip at a time beside windows of up to {AT_ONCE}, "
        "one process each, one after the other.\n"
    )
    print_head(
        "clips",
        *("one by one", "at once", "times as fast"),
        *("memory one by one", "memory at once", "largest difference, of their deviation"),
    )
    for clips in LENGTHS:
        with tempfile.TemporaryDirectory(prefix="vidrd-bench-") as folder:
            alone, together = (_measured(clips, size, Path(folder)) for size in (1, min(clips, AT_ONCE)))
            wanted, got = (torch.load(one["latents"], weights_only=True) for one in (alone, together))
        apart = float((got - wanted).abs().max() / wanted.std())
        print_row(
            clips,
            f"{alone['seconds']:.1f} s",
            f"{together['seconds']:.1f} s",
            f"{alone['seconds'] / together['seconds']:.2f}",
            f"{alone['bytes'] / 2**20:.0f} MiB",
            f"{together['bytes'] / 2**20:.0f} MiB",
            f"{apart:.1e}",
        )
    _in_half_precision()


def _in_half_precision() -> None:
    """A table of how far the frames are apart where the UNet computes in bfloat16."""
    from flows.profile import load_profile
    from vidrd_model import VidRDPipeline

    pipe = VidRDPipeline.from_pretrained(load_profile("tiny").model)
    pipe.set_progress_bar_config(disable=True)
    pipe.unet.to(torch.bfloat16)
    asked: dict[str, Any] = {"num_inference_steps": STEPS, "output_type": "uint8", "seed": 7}
    print("\nThe UNet in bfloat16, frames in grey levels.\n")
    print_head("clips", "mean difference", "largest")
    for clips in LENGTHS[1:3]:
        alone, together = (
            pipe("a red circle moving right", clips, clips_at_once=size, **asked).frames.astype(int)
            for size in (1, min(clips, AT_ONCE))
        )
        apart = abs(alone - together)
        print_row(clips, f"{apart.mean():.2f}", apart.max())


def _measured(clips: int, at_once: int, folder: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench.lockstep", str(clips), str(at_once), str(folder)]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def run(clips: int, at_once: int, folder: Path) -> None:
    """Samples one video after a first clip that nobody counts; prints its seconds and bytes, and its latents' file."""
    from flows.profile import load_profile
    from vidrd_model import VidRDPipeline

    pipe = VidRDPipeline.from_pretrained(load_profile("tiny").model)
    pipe.set_progress_bar_config(disable=True)
    asked: dict[str, Any] = {"num_inference_steps": STEPS, "output_type": "latent", "seed": 7}
    next(pipe.stream("a red circle moving right", 1, **asked))
    before, started_s = reset_peak(), time.perf_counter()
    latents = list(pipe.stream("a red circle moving right", clips, clips_at_once=at_once, **asked))
    seconds = time.perf_counter() - started_s
    grown = peak_bytes() - before
    path = folder / f"{at_once}.pt"
    torch.save(torch.stack(latents), path)
    print(json.dumps({"seconds": seconds, "bytes": grown, "latents": str(path)}))


if __name__ == "__main__":
    run(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
