"""The aesthetic score of a clip, by a small head over CLIP features: optional, since it must fit the CLIP model."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from tasks.errors import ItemError, RequestError
from vidrd_model.errors import ModelError
from vidrd_model.weights_file import read_weights


class AestheticHead:
    """A head over unit-norm CLIP features of width d.

    Two layouts are read: `weight` and `bias` of one linear layer, and LAION's `layers.N.weight` and
    `layers.N.bias`. LAION's network has dropouts but no activations between its layers, so either is one linear
    map. Raises RequestError, naming the file, for anything else or another width.
    """

    def __init__(self, path: str | Path, feature_width: int) -> None:
        layers = _layers(Path(path), _read(Path(path)))
        found = layers[0][0].shape[1]
        if found != feature_width:
            raise RequestError(
                f"aesthetic: {path} is for CLIP features of width {found}, "
                f"the CLIP model's have {feature_width}"
            )
        weight_od, bias_o = np.eye(feature_width), np.zeros(feature_width)
        for weight, bias in layers:
            weight_od, bias_o = weight @ weight_od, weight @ bias_o + bias
        self._weight_d, self._bias = weight_od[0], float(bias_o[0])

    def score(self, frame_features: np.ndarray) -> float:
        """Gives the mean over the frames (n, d), in the precision of float32; ItemError when it is not a number."""
        scores_n = (frame_features.astype(np.float64) * self._weight_d).sum(axis=1) + self._bias
        score = float(np.float32(scores_n.mean()))
        if not math.isfinite(score):
            raise ItemError("the aesthetic score is not finite", stage="score")
        return score


def _read(path: Path) -> Mapping[str, torch.Tensor]:
    if not path.is_file():
        raise RequestError(f"aesthetic: {path} is not a file")
    try:
        state = read_weights(path)
    except ModelError as error:
        raise RequestError(f"aesthetic: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise RequestError(f"aesthetic: {path} holds no tensors by name")
    return state


def _layers(path: Path, state: Mapping[str, torch.Tensor]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights (out, in) and biases (out,) in order, float64, checked to fit each other and to end in one number."""
    prefixes = {name.rpartition(".")[0] for name in state}
    numbers = [found.group(1) for prefix in prefixes if (found := re.fullmatch(r"layers\.(\d+)", prefix))]
    linear = prefixes == {""}
    if not linear and (not numbers or len(numbers) < len(prefixes)):
        raise RequestError(f"aesthetic: {path} is neither one linear layer nor `layers.N.weight` and `.bias`")
    names = [""] if linear else [f"layers.{number}." for number in sorted(numbers, key=int)]
    if set(state) != {name + part for name in names for part in ("weight", "bias")}:
        raise RequestError(f"aesthetic: {path} lacks a weight or a bias, or has more than these")
    layers = [
        (state[f"{name}weight"].double().numpy(), state[f"{name}bias"].double().numpy()) for name in names
    ]
    fit = all(weight.ndim == 2 and bias.shape == weight.shape[:1] for weight, bias in layers)
    if (
        not fit
        or layers[-1][0].shape[0] != 1
        or any(a[0].shape[0] != b[0].shape[1] for a, b in pairwise(layers))
    ):
        shapes = ", ".join(str(tuple(weight.shape)) for weight, _ in layers)
        raise RequestError(f"aesthetic: {path} has layers that do not lead to one number: {shapes}")
    if not all(np.isfinite(weight).all() and np.isfinite(bias).all() for weight, bias in layers):
        raise RequestError(f"aesthetic: {path} holds values that are not finite")
    return layers
