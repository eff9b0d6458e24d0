"""The instants a clip shows, worked out of its parameters alone: cutting and making again agree by construction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tasks.clips.settings import ClipSettings

# Clips of shots start on a grid of instants, so that a stream can drop the other frames; this many a second at
# least, or short shots would miss the grid.
MIN_GRID_HZ = 8.0


def grid_refinement(settings: ClipSettings) -> int:
    """Tells how many instants of the grid there are for one of the settings' `fps`."""
    return math.ceil(MIN_GRID_HZ / settings.fps)


def sample_instants_s(parameters: Mapping[str, Any]) -> np.ndarray:
    """Gives the seconds (n,) of a clip that starts at a time (`start_s`)."""
    return parameters["start_s"] + _steps(parameters) / parameters["fps"]


def shot_instants_s(parameters: Mapping[str, Any]) -> np.ndarray:
    """Gives the seconds (n,) of a clip that starts at an instant of the grid (`instant`, `grid`)."""
    refinement = parameters["grid"]
    return (parameters["instant"] + _steps(parameters) * refinement) / (parameters["fps"] * refinement)


def _steps(parameters: Mapping[str, Any]) -> np.ndarray:
    return np.arange(parameters["num_frames"]) * parameters["frame_stride"]
