"""What decoding in windows of the trained length shows at a window's seam, against decoding the clip whole.

The decoder's temporal layers are trained here, on windows of the tiny world, until they beat the image decoder: those
of the embedded model are fresh. The truth is drawn, so a change from frame to frame can be held against the real one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from tests.bench.tables import print_head, print_row

if TYPE_CHECKING:
    from vidrd_model import TemporalVAE

WINDOW, FRAMES = 8, 16
STEPS, BATCH, VIDEOS = 300, 2, 32


def main() -> None:
    """Trains, then prints a row per way of decoding."""
    from flows.profile import load_profile
    from vidrd_model import TemporalVAE

    vae = TemporalVAE.from_pretrained(load_profile("tiny").model, subfolder="vae")
    vae.reset_temporal_layers(0)
    _train(vae.train(), np.random.default_rng(0))
    vae.eval()
    print(
        f"{VIDEOS} unseen videos of {FRAMES} frames, temporal layers trained for {STEPS} steps on {WINDOW} frames;\n"
        "differences to the drawn pixels in grey levels.\n"
    )
    print_head("decoded", "pixels", "change between frames", "change at the seam")
    pixels_bnchw = _draw(np.random.default_rng(1), VIDEOS, FRAMES)
    ways = (("frame by frame", 1), (f"whole, {FRAMES} frames", FRAMES), (f"in windows of {WINDOW}", WINDOW))
    for name, window in ways:
        print_row(name, *_row(vae, pixels_bnchw, window))


def _train(vae: TemporalVAE, rng: np.random.Generator) -> None:
    names = vae.set_trainable_temporal()
    optimizer = torch.optim.AdamW([vae.get_parameter(name) for name in names], lr=1e-3)
    for _ in range(STEPS):
        pixels_bnchw = _draw(rng, BATCH, WINDOW)
        decoded_bnchw = _decode(vae, pixels_bnchw, WINDOW)
        changes = decoded_bnchw.diff(dim=1) - pixels_bnchw.diff(dim=1)
        loss = (decoded_bnchw - pixels_bnchw).abs().mean() + changes.abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _draw(rng: np.random.Generator, videos: int, frames: int) -> torch.Tensor:
    """Pixels (b, n, 3, h, w) in [-1, 1]."""
    from tasks.tiny.world.drawing import draw_clip, random_scene

    clips = np.stack([draw_clip(random_scene(rng), rng, frames) for _ in range(videos)])
    return torch.from_numpy(clips).permute(0, 1, 4, 2, 3).float() / 127.5 - 1


def _decode(vae: TemporalVAE, pixels_bnchw: torch.Tensor, window: int) -> torch.Tensor:
    with torch.no_grad():
        latents = vae.encode(pixels_bnchw.flatten(0, 1)).latent_dist.mean
    return vae.decode(latents, num_frames=window).sample.view_as(pixels_bnchw)


@torch.no_grad()
def _row(vae: TemporalVAE, pixels_bnchw: torch.Tensor, window: int) -> list[str]:
    decoded_bnchw = torch.cat([_decode(vae, video, window) for video in pixels_bnchw.split(1)])
    pixels = (decoded_bnchw - pixels_bnchw).abs().mean()
    changes_n = (decoded_bnchw.diff(dim=1) - pixels_bnchw.diff(dim=1)).abs().mean(dim=(0, 2, 3, 4))
    return [f"{127.5 * figure.item():.2f}" for figure in (pixels, changes_n.mean(), changes_n[WINDOW - 1])]
