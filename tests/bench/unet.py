"""One pass of the UNet on one CPU core, beside diffusers' video UNets and the bare image UNet of the same widths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers import UNet2DConditionModel, UNet3DConditionModel, UNetMotionModel

from tests.bench.tables import print_head, print_row
from tests.bench.timing import medians_in_turn_s
from vidrd_model import TemporalUNet
from vidrd_model.blocks import BLOCKS
from vidrd_model.compiling import compile_blocks

WIDTHS, TEXT_WIDTH, TEXT_TOKENS = (64, 128, 256, 256), 1024, 77
VIDEOS, FRAMES, SIZE = 2, 8, 32
ROUNDS = 5


def main() -> None:
    """Prints one row per model, with its time over that of each peer in float32."""
    torch.set_num_threads(1)
    runs = _runs()
    with torch.inference_mode():
        seconds = medians_in_turn_s(runs, ROUNDS)
    motion, unet3d = seconds["UNetMotionModel"], seconds["UNet3DConditionModel"]
    print(
        f"One thread, widths {WIDTHS}, {VIDEOS}x4x{FRAMES}x{SIZE}x{SIZE}, text {TEXT_TOKENS}x{TEXT_WIDTH}.\n"
    )
    print_head("one pass", "median", "over UNetMotionModel", "over UNet3DConditionModel")
    for name, value in seconds.items():
        print_row(name, f"{1000 * value:.0f} ms", f"{value / motion:.2f}", f"{value / unet3d:.2f}")


def sized_unet() -> TemporalUNet:
    """The TemporalUNet of this bench, with random weights."""
    return TemporalUNet(
        block_out_channels=WIDTHS, attention_head_dim=(1, 2, 4, 4), cross_attention_dim=TEXT_WIDTH
    ).eval()


def _runs() -> dict[str, Callable[[], Any]]:
    torch.manual_seed(0)
    common: dict[str, Any] = {"block_out_channels": WIDTHS, "cross_attention_dim": TEXT_WIDTH}
    ours, half, compiled = sized_unet(), sized_unet().bfloat16(), sized_unet().bfloat16()
    compile_blocks(compiled, BLOCKS)
    motion = UNetMotionModel(**common, num_attention_heads=(1, 2, 4, 4)).eval()
    unet3d = UNet3DConditionModel(**common, attention_head_dim=64).eval()
    image = UNet2DConditionModel(**common, attention_head_dim=(1, 2, 4, 4), use_linear_projection=True).eval()

    sample = torch.randn(VIDEOS, 4, FRAMES, SIZE, SIZE)
    text = torch.randn(VIDEOS, TEXT_TOKENS, TEXT_WIDTH)
    text_per_frame, frames = text.repeat_interleave(FRAMES, 0), sample.transpose(1, 2).flatten(0, 1)
    with torch.inference_mode():
        projected = {model: model.project_text(text.to(model.dtype)) for model in (ours, half, compiled)}
    step = torch.tensor(500)
    return {
        "TemporalUNet, float32": lambda: ours(sample, step, projected[ours]),
        "TemporalUNet, bfloat16": lambda: half(sample.bfloat16(), step, projected[half]),
        "TemporalUNet, bfloat16, compiled": lambda: compiled(sample.bfloat16(), step, projected[compiled]),
        "UNetMotionModel": lambda: motion(sample, step, text_per_frame),
        "UNet3DConditionModel": lambda: unet3d(sample, step, text),
        "image UNet of the same widths, no temporal layers": lambda: image(frames, step, text_per_frame),
    }
