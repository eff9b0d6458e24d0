"""Small ONNX networks for tests: a classifier of three classes by the mean red, green and blue of an image."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def write_classifier(
    path: Path, gain: float = 8.0, channels_first: bool = True, side: int | str = 16
) -> Path:
    """Its outputs are `gain` times the mean of each channel of its input."""
    shape = [1, 3, side, side] if channels_first else [1, side, side, 3]
    axes = [2, 3] if channels_first else [1, 2]
    names = ["n", *("h", "w")] if isinstance(side, str) else None
    if names:
        shape = [1, 3, "h", "w"] if channels_first else [1, "h", "w", 3]
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["images", "axes"], ["means"], keepdims=0),
            helper.make_node("Mul", ["means", "gain"], ["scores"]),
        ],
        "mean colours",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 3])],
        [
            numpy_helper.from_array(np.array(axes, np.int64), "axes"),
            numpy_helper.from_array(np.array(gain, np.float32), "gain"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path
