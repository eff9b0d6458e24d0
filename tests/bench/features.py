"""Clips per second of I3D on a CPU, beside the code path of public torch ports with the same weights."""

from __future__ import annotations

import torch

from tests.bench.tables import print_head, print_row
from tests.bench.timing import medians_in_turn_s
from tests.i3d_files import i3d_checkpoint
from tests.plain_i3d import PlainI3D
from vidrd_model.metrics import I3D

THREADS, BATCHES = (1, 2), (1, 2, 4)
FRAMES, SIDE = 16, 224
ROUNDS = 3


def main() -> None:
    """Prints a row per number of threads and clips at a time."""
    checkpoint = i3d_checkpoint()
    ours, plain = I3D.from_weights(checkpoint), PlainI3D(checkpoint)
    print(
        f"Clips of {FRAMES} frames of {SIDE}x{SIDE}, float32; plain is Conv3d, BatchNorm3d and padding by copies.\n"
    )
    print_head("threads", "clips at a time", "plain", "ours", "times as fast", "largest difference")
    for threads in THREADS:
        torch.set_num_threads(threads)
        for batch in BATCHES:
            print_row(threads, batch, *_measured(ours, plain, batch))


@torch.inference_mode()
def _measured(ours: I3D, plain: PlainI3D, batch: int) -> tuple[str, ...]:
    clips = torch.rand(batch, 3, FRAMES, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    seconds = medians_in_turn_s({"plain": lambda: plain(clips), "ours": lambda: ours.logits(clips)}, ROUNDS)
    apart = float((plain(clips) - ours.logits(clips)).abs().max())
    speeds = [f"{batch / seconds[name]:.2f}/s" for name in ("plain", "ours")]
    return *speeds, f"{seconds['plain'] / seconds['ours']:.2f}", f"{apart:.0e}"
