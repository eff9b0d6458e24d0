"""Drawn scenes with hard cuts between them, for the tests of shots and clips."""

import numpy as np

from tasks.tiny.world.drawing import Scene, draw_clip, random_scene


def cut_scenes(lengths: list[int], seed: int = 0) -> list[np.ndarray]:
    """The frames (n, h, w, 3) of scenes of these lengths, neighbours unlike each other in colour and shape."""
    rng = np.random.default_rng(seed)
    scenes: list[Scene] = []
    while len(scenes) < len(lengths):
        scene = random_scene(rng)
        if not scenes or (scene.colour != scenes[-1].colour and scene.shape != scenes[-1].shape):
            scenes.append(scene)
    return [draw_clip(scene, rng, length) for scene, length in zip(scenes, lengths, strict=True)]
