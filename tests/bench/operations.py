"""Operations of one pass of the UNet at Stable Diffusion 2.1's size, beside diffusers' video UNets, on no device."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from diffusers import UNet3DConditionModel, UNetMotionModel

from tests.bench.gpu.size import FRAMES, REAL, Size
from tests.bench.tables import print_head, print_row
from tests.operation_count import operations
from vidrd_model.deep_features import DeepFeatures

SHOWN = ("convolution", "mm", "addmm", "native_group_norm", "native_layer_norm", "silu", "add", "clone")
ATTENTION = "new_empty"


def main() -> None:
    """Prints one row per model: all operations that are no views, and how many of the usual ones."""
    print(f"One pass with 2 videos of {FRAMES} frames in {REAL.precision}; operations that are no views.\n")
    print_head("model", "all", "attention", *SHOWN)
    for name, found in counts().items():
        shown = (found[kind] for kind in (ATTENTION, *SHOWN))
        print_row(name, f"{found.total():,}", *shown)


def counts() -> dict[str, Any]:
    """The operations of each model; the text is projected before where a model can, as in sampling."""
    size = replace(REAL, device="meta")
    with torch.device(size.device):
        ours, steps = size.unet().eval(), torch.tensor(500)
        motion, unet3d = _peers(size)
    noise_bcnhw, text_btd = size.noise(2), size.text_states(2)
    projected, per_frame_btd = ours.project_text(text_btd), size.text_states(2 * FRAMES)
    deep = DeepFeatures()
    return {
        "TemporalUNet": operations(lambda: ours(noise_bcnhw, steps, projected, deep=deep)),
        "TemporalUNet, on deep features kept": operations(
            lambda: ours(noise_bcnhw, steps, projected, deep=deep)
        ),
        "UNetMotionModel": operations(lambda: motion(noise_bcnhw, steps, per_frame_btd)),
        "UNet3DConditionModel": operations(lambda: unet3d(noise_bcnhw, steps, text_btd)),
    }


def _peers(size: Size) -> tuple[UNetMotionModel, UNet3DConditionModel]:
    motion = UNetMotionModel(
        num_attention_heads=size.heads, motion_num_attention_heads=size.heads, **size.blocks("Motion")
    )
    unet3d = UNet3DConditionModel(attention_head_dim=64, **size.blocks("3D"))
    return motion.to(size.dtype).eval(), unet3d.to(size.dtype).eval()
