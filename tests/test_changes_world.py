"""Loops, changes of colour and edits by the embedded model; `tests.bench` rings, changes and edits say more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tasks.tiny.world.drawing import random_scene
from tests.quiet_pipeline import quiet_pipeline
from tests.world_changes import changed_at, recoloured, rings
from tests.world_edits import drawn_pairs, edits
from vidrd_model import VidRDPipeline


@pytest.fixture(scope="module")
def pipe(tiny_profile: Any) -> VidRDPipeline:
    return quiet_pipeline(tiny_profile.model)


@pytest.mark.slow
def test_a_loop_goes_on_without_a_jump(pipe: VidRDPipeline, tiny_profile: Any) -> None:
    rng = np.random.default_rng(57)
    scenes = [random_scene(rng) for _ in range(16)]
    found = rings(pipe, scenes, 3, tiny_profile.sampling.pipeline_arguments())
    assert all(0.5 < ring.closing_step < 1.5 for ring in found), [ring.closing_step for ring in found]
    assert sum(ring.kept for ring in found) >= 15


@pytest.mark.slow
def test_a_colour_changes_at_the_frame_that_is_asked_for(pipe: VidRDPipeline, tiny_profile: Any) -> None:
    settings = tiny_profile.sampling.pipeline_arguments()
    found = changed_at(pipe, recoloured(67, 16), 5, 1, settings)
    assert found.count(5) >= 15, found


@pytest.mark.slow
def test_a_drawn_video_takes_another_colour_and_moves_as_it_did(
    pipe: VidRDPipeline, tiny_profile: Any
) -> None:
    settings = tiny_profile.sampling.pipeline_arguments()
    found = edits(pipe, drawn_pairs(72, 8, 12), 0.6, settings)
    assert sum(one.is_recoloured and one.keeps_shape for one in found) >= 7
    assert max(one.off_px for one in found) < 5
    assert sorted(one.seam(settings["num_frames"]) for one in found)[-2] < 2
