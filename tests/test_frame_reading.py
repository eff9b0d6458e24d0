"""The reader of frames reads what was drawn, so that what it says of generated videos counts."""

from __future__ import annotations

import numpy as np

from tasks.tiny.world.drawing import draw_clip, random_scene
from tests.frame_reading import read_clip


def test_reads_every_drawn_clip():
    rng = np.random.default_rng(0)
    for _ in range(100):
        scene = random_scene(rng)
        reading = read_clip(draw_clip(scene, rng))
        assert (reading.colour, reading.shape, reading.direction) == (
            scene.colour,
            scene.shape,
            scene.direction,
        )
        assert 3.0 <= np.nanmean(reading.steps_px) <= 5.5


def test_sees_nothing_on_an_empty_ground():
    assert read_clip(np.full((8, 64, 64, 3), 30, np.uint8)).colour == "none"
