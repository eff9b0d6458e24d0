"""Training batches drawn from the tiny world, as the real files show it: zoomed and with coarse chroma."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from tasks.tiny.world.drawing import Scene, draw_image, random_scene

MAX_ZOOM = 1.5
PREFIXES = ("a", "a video of a", "a photo of a", "a picture of a")


def frame_batch(rng: np.random.Generator, size: int) -> tuple[torch.Tensor, list[Scene]]:
    """Single frames (b, 3, 64, 64) in [-1, 1] and their scenes."""
    scenes = [random_scene(rng) for _ in range(size)]
    pixels_bchw = to_pixels(np.stack([draw_image(scene, rng) for scene in scenes]))
    zoomed = torch.stack([_random_zoom(image, rng) for image in pixels_bchw])
    return zoomed, scenes


def spoken_caption(scene: Scene, rng: np.random.Generator) -> str:
    """Gives the caption with or without its motion, sometimes with another beginning."""
    caption = (scene if rng.random() < 0.5 else Scene(scene.colour, scene.shape)).caption
    prefix = PREFIXES[0] if rng.random() < 0.7 else str(rng.choice(PREFIXES))
    return prefix + caption.removeprefix("a")


def to_pixels(frames_nhwc: np.ndarray) -> torch.Tensor:
    """uint8 (n, h, w, 3) to float (n, 3, h, w) in [-1, 1], its chroma halved as H.264's yuv420p halves it."""
    rgb = torch.from_numpy(frames_nhwc).permute(0, 3, 1, 2).float() / 127.5 - 1
    luma = (rgb * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    coarse = F.interpolate(F.avg_pool2d(rgb - luma, 2), scale_factor=2, mode="bilinear", align_corners=False)
    return (luma + coarse).clamp(-1, 1)


def _random_zoom(image_chw: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Half of the images as they are, half zoomed in around a random place near the middle."""
    if rng.random() < 0.5:
        return image_chw
    size = image_chw.shape[-1]
    side = round(size / rng.uniform(1.0, MAX_ZOOM))
    left, top = rng.integers(0, size - side + 1, size=2)
    crop = image_chw[None, :, top : top + side, left : left + side]
    return F.interpolate(crop, size=size, mode="bilinear", align_corners=False)[0]
