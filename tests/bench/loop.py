"""The whole sampling loop of three clips, with our savings and without, each in a process of its own.

Without: the text is projected in every step, every latent of every step is kept, as the authors keep them, and the
frames are decoded when all clips are sampled.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from typing import Any

import torch
from diffusers import DDIMScheduler

from tests.bench.memory import peak_bytes, reset_peak
from tests.bench.tables import print_head, print_row
from tests.bench.unet import TEXT_TOKENS, TEXT_WIDTH, sized_unet
from vidrd_model import TemporalVAE
from vidrd_model.sampling import ClipSampler, ClipToSample
from vidrd_model.sampling_options import SamplingOptions

CLIPS, STEPS, SIZE, ROUNDS = 3, 5, 32, 3


def main() -> None:
    """Prints a row for each loop: the median of three runs in turn, and the peak of the process."""
    found: dict[str, list[dict[str, float]]] = {"with": [], "without": []}
    for _ in range(ROUNDS):
        for which, results in found.items():
            command = [sys.executable, "-m", "tests.bench.loop", which]
            done = subprocess.run(command, capture_output=True, check=True, text=True)
            results.append(json.loads(done.stdout.splitlines()[-1]))
    print(f"{CLIPS} clips of 8 frames, {STEPS} steps with guidance, latents {SIZE}x{SIZE}, two threads.\n")
    print_head("loop", "median", "peak memory above the loaded model")
    for which, results in found.items():
        seconds = statistics.median(result["seconds"] for result in results)
        peak = statistics.median(result["peak_bytes"] for result in results)
        print_row(f"{which} our savings", f"{seconds:.1f} s", f"{peak / 2**20:.0f} MiB")


def run(which: str) -> None:
    """Runs one loop and prints its figures as JSON."""
    torch.manual_seed(0)
    unet: Any = sized_unet()
    vae = TemporalVAE(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(32, 64, 64, 64),
    ).eval()
    kept: list[torch.Tensor] = []
    before = reset_peak()
    started = time.perf_counter()
    if which == "without":
        unet.project_text, unet.projection_state = lambda text: text, lambda: None
    sampler = ClipSampler(unet, _scheduler(), SamplingOptions(num_inference_steps=STEPS))
    text = torch.randn(1, TEXT_TOKENS, TEXT_WIDTH)
    on_step = (lambda step, x: kept.append(x.flip(2))) if which == "without" else None
    waiting = []
    with torch.inference_mode():
        for _ in range(CLIPS):
            noise = torch.randn(1, 4, 8, SIZE, SIZE)
            latents = sampler.next_clip(ClipToSample(noise, text, text, on_step_start=on_step))
            waiting.append(latents)
            if which == "with":
                _decode(vae, waiting.pop())
        if waiting:
            _decode(vae, torch.cat(waiting))
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "peak_bytes": peak_bytes() - before}))


def _decode(vae: Any, latents_bcnhw: Any) -> Any:
    return vae.decode(latents_bcnhw.transpose(1, 2).flatten(0, 1), num_frames=8).sample


def _scheduler() -> Any:
    # The tiny models' schedule is Stable Diffusion 2.1's.
    return DDIMScheduler.from_pretrained("infra/profiles/tiny/model/scheduler")


if __name__ == "__main__":
    run(sys.argv[1])
