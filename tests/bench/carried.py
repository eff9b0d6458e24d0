"""What temporal layers do on another image model than the one they were trained on; a few minutes on a core.

The embedded model's layers on itself, and on its image layers after these were fine-tuned on still images in other
colours: `python -m tests.bench.carried`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch

from flows.profile import load_profile
from tasks.tiny.world.drawing import Scene, random_scene
from tests.bench.tables import print_head, print_row
from tests.frame_reading import object_mask, read_clip
from tests.recoloured_model import write_recoloured_model
from vidrd_model import VidRDPipeline
from vidrd_model.temporal_file import write_temporal_layers

VIDEOS, BATCH = 32, 8
WHAT = ("direction", "shape", "colour")


def main() -> None:
    """Prints a row for each pair of image model and layers."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(32)
    scenes = [random_scene(rng) for _ in range(VIDEOS)]
    with tempfile.TemporaryDirectory(prefix="vidrd-bench-") as folder:
        tiny, file, sd = load_profile("tiny").model, Path(folder, "layers.safetensors"), Path(folder, "sd")
        own = VidRDPipeline.from_pretrained(tiny)
        write_temporal_layers(own, own, file, "tiny", "tiny")
        losses = write_recoloured_model(sd, tiny)
        print(
            f"fine-tuned for {len(losses)} steps: loss {np.mean(losses[:10]):.3f} to {np.mean(losses[-10:]):.3f}\n"
        )
        carried = VidRDPipeline.from_image_model(sd, temporal=file)
        print_head(f"of {VIDEOS} videos right", *WHAT, "object's colour, from the embedded model's, levels")
        before = _videos(own, scenes)
        for name, pipe in (("embedded", own), ("fine-tuned, its layers", carried)):
            videos = before if pipe is own else _videos(pipe, scenes)
            print_row(name, *_right(videos, scenes), f"{_apart(videos, before):.0f}")


def _videos(pipe: VidRDPipeline, scenes: list[Scene]) -> list[np.ndarray]:
    pipe.set_progress_bar_config(disable=True)
    return [
        video
        for start in range(0, len(scenes), BATCH)
        for video in pipe(
            [scene.caption for scene in scenes[start : start + BATCH]],
            seed=list(range(start, start + BATCH)),
            output_type="uint8",
        ).frames
    ]


def _right(videos: list[np.ndarray], scenes: list[Scene]) -> list[int]:
    readings = [read_clip(video) for video in videos]
    return [
        sum(getattr(read, what) == getattr(scene, what) for read, scene in zip(readings, scenes, strict=True))
        for what in WHAT
    ]


def _apart(videos: list[np.ndarray], others: list[np.ndarray]) -> float:
    return float(
        np.mean([np.abs(_colour(a) - _colour(b)).mean() for a, b in zip(videos, others, strict=True)])
    )


def _colour(frames_nhwc: np.ndarray) -> np.ndarray:
    return frames_nhwc[np.stack([object_mask(frame) for frame in frames_nhwc])].mean(axis=0)


if __name__ == "__main__":
    from tests.bench.__main__ import section

    section("carried")
