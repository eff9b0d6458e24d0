"""Networks in ONNX files, run by onnxruntime on one core: decoders share the processors, and a file runs no code."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from tasks.errors import RequestError

INSTALL = "pip install 'vidrd[filters]'"


class OnnxNetwork:
    """A network of one input and, of its outputs, the first; loaded once in a process by `open_network`.

    `input_shape` has None where the file leaves a size open.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        given = session.get_inputs()[0]
        self._input = given.name
        self.input_shape = tuple(size if isinstance(size, int) else None for size in given.shape)

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Gives the first output for float32 inputs."""
        output: np.ndarray = self._session.run(None, {self._input: inputs})[0]
        return output


@lru_cache(maxsize=4)
def open_network(path: Path, field: str) -> OnnxNetwork:
    """Opens a network; RequestError, naming the field of the request, where that cannot be done."""
    require_onnxruntime(field)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors alone: it warns of what graphs could do better
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # it has exceptions of its own, one for each kind of damage
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RequestError(f"{field}: {path} cannot be loaded as an ONNX network: {reason}") from error
    return OnnxNetwork(session)


def require_onnxruntime(field: str) -> None:
    """Raises RequestError, saying what to install, where onnxruntime is not."""
    if find_spec("onnxruntime") is None:
        raise RequestError(f"{field}: needs onnxruntime, which is not installed: {INSTALL}")
