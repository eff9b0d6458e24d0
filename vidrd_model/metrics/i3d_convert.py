"""DeepMind's I3D checkpoint, a pickle of numpy arrays, as plain tensors; nothing but arrays can be unpickled.

The file is `i3d-kinetics-400.ckpt`: nested dicts `params` and `batch_stats`. BatchNorm has no scale and is
fixed at inference, so it is folded into the convolution before it: one weight and one bias per layer remain.
"""

import io
import pickle
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

from vidrd_model.errors import ModelError

BATCH_NORM_EPS = 1e-3

# numpy 2 moved `numpy.core` to `numpy._core`; the checkpoint names the old place.
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that knows how to rebuild numpy arrays and refuses every other name."""

    def find_class(self, module: str, name: str) -> object:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not a numpy array") from None


def read_checkpoint(path: str | Path) -> dict[str, dict]:
    """The nested dicts of arrays in DeepMind's pickle; ModelError when it holds anything else."""
    try:
        tree = _ArraysOnly(io.BytesIO(Path(path).read_bytes())).load()
    except OSError as error:
        raise ModelError(f"{path}: cannot read the I3D weights: {error.strerror}") from error
    except Exception as error:  # a damaged pickle raises nearly anything
        raise ModelError(f"{path}: not the I3D Kinetics-400 checkpoint: {error}") from error
    if not isinstance(tree, dict) or not {"params", "batch_stats"} <= set(tree):
        raise ModelError(f"{path}: not the I3D Kinetics-400 checkpoint: no params and batch_stats in it")
    return tree


def _layer_name(path: tuple[str, ...]) -> str:
    """`("Mixed_3b", "Branch_1/Conv3d_0a_1x1", "Conv_0", "kernel")` -> `Mixed_3b.Branch_1.Conv3d_0a_1x1`."""
    return ".".join(path[:-2]).replace("/", ".")


def _leaves(tree: dict, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], np.ndarray]:
    leaves: dict[tuple[str, ...], np.ndarray] = {}
    for key, value in tree.items():
        leaves.update(_leaves(value, (*path, key)) if isinstance(value, dict) else {(*path, key): value})
    return leaves


def folded_state_dict(checkpoint: dict[str, dict]) -> dict[str, torch.Tensor]:
    """`LAYER.weight` (out, in, t, h, w) and `LAYER.bias` (out,) of each convolution, BatchNorm folded in."""
    params = _leaves(checkpoint["params"])
    stats = _leaves(checkpoint["batch_stats"])
    state: dict[str, torch.Tensor] = {}
    for path, kernel in params.items():
        if path[-1] != "kernel":
            continue
        weight = np.transpose(kernel.astype(np.float64), (4, 3, 0, 1, 2))
        norm = (*path[:-2], "BatchNorm_0")
        if (*norm, "bias") in params:
            scale = 1.0 / np.sqrt(stats[*norm, "var"].reshape(-1).astype(np.float64) + BATCH_NORM_EPS)
            bias = params[*norm, "bias"].reshape(-1) - stats[*norm, "mean"].reshape(-1) * scale
            weight = weight * scale[:, None, None, None, None]
        else:
            bias = params[*path[:-1], "bias"]
        state[_layer_name(path) + ".weight"] = torch.from_numpy(np.ascontiguousarray(weight, np.float32))
        state[_layer_name(path) + ".bias"] = torch.from_numpy(np.ascontiguousarray(bias, np.float32))
    return state


def convert(checkpoint_path: str | Path) -> bytes:
    """The checkpoint as the bytes of a safetensors file that `I3D.from_weights` loads."""
    return save(folded_state_dict(read_checkpoint(checkpoint_path)), metadata={"format": "pt"})
