"""A training step of the temporal layers on one core, beside diffusers' UNetMotionModel with frozen spatial layers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import UNetMotionModel
from torch import nn

from tests.bench.memory import peak_bytes, reset_peak
from tests.bench.tables import print_head, print_row
from tests.bench.timing import medians_in_turn_s
from tests.bench.unet import FRAMES, SIZE, TEXT_TOKENS, TEXT_WIDTH, VIDEOS, WIDTHS, sized_unet
from vidrd_model.dropout import KeyedDropout, dropout_keys

OURS, CHECKPOINTED, PLAIN_DROPOUT, MOTION = (
    "TemporalUNet",
    "TemporalUNet, checkpointing",
    "TemporalUNet, nn.Dropout in the place of ours",
    "UNetMotionModel",
)
NAMES = (OURS, CHECKPOINTED, PLAIN_DROPOUT, MOTION)
ROUNDS = 5


def main() -> None:
    """Prints a row per model: seconds in turn in one process, peaks in processes of their own."""
    torch.set_num_threads(1)
    peaks = _peaks()
    seconds = medians_in_turn_s({name: _step(name) for name in NAMES}, ROUNDS)
    print(
        f"One thread, float32, widths {WIDTHS}, {VIDEOS}x4x{FRAMES}x{SIZE}x{SIZE}; forward, backward, AdamW.\n"
    )
    print_head("one step", "median", "over UNetMotionModel", "peak memory", "over UNetMotionModel")
    for name in NAMES:
        time_ratio, memory_ratio = seconds[name] / seconds[MOTION], peaks[name] / peaks[MOTION]
        time, memory = f"{1000 * seconds[name]:.0f} ms", f"{peaks[name] / 2**20:.0f} MiB"
        print_row(name, time, f"{time_ratio:.2f}", memory, f"{memory_ratio:.2f}")


def peak(name: str) -> None:
    """Prints by how many bytes a model's first step makes this process grow."""
    torch.set_num_threads(1)
    step = _step(name)
    before = reset_peak()
    step()
    print(peak_bytes() - before)


def _peaks() -> dict[str, int]:
    taken = {}
    for name in NAMES:
        command = [sys.executable, "-m", "tests.bench.train_step", name]
        done = subprocess.run(command, capture_output=True, check=True, text=True)
        taken[name] = int(done.stdout.split()[-1])
    return taken


def _step(name: str) -> Callable[[], Any]:
    """A training step of one of NAMES, its model made and its trained set chosen."""
    torch.manual_seed(0)
    model = _model(name).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4)
    sample, target = (torch.randn(VIDEOS, 4, FRAMES, SIZE, SIZE) for _ in range(2))
    text = torch.randn(VIDEOS, TEXT_TOKENS, TEXT_WIDTH)
    if name == MOTION:
        text = text.repeat_interleave(FRAMES, 0)
    timesteps, keys = torch.tensor([100, 700]), None if name == PLAIN_DROPOUT else torch.arange(VIDEOS)

    def step() -> None:
        with dropout_keys(keys):
            loss = F.mse_loss(model(sample, timesteps, text).sample, target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def _model(name: str) -> nn.Module:
    if name == MOTION:
        motion = UNetMotionModel(
            block_out_channels=WIDTHS, cross_attention_dim=TEXT_WIDTH, num_attention_heads=(1, 2, 4, 4)
        )
        motion.freeze_unet2d_params()
        return motion
    unet = sized_unet()
    unet.set_trainable("temporal")
    if name == CHECKPOINTED:
        unet.enable_gradient_checkpointing()
    if name == PLAIN_DROPOUT:
        for module in list(unet.modules()):
            for child_name, child in list(module.named_children()):
                if isinstance(child, KeyedDropout):
                    setattr(module, child_name, nn.Dropout(child.p))
    return unet


if __name__ == "__main__":
    peak(sys.argv[1])
