"""How likely a clip shows nudity, by a detector that the user names: none comes with the project.

Three kinds are read: an image classifier in an ONNX file, one of transformers (folder or hub id), and the package
NudeNet where the user has installed it. Its weights are under AGPL-3.0, so it is in no list of ours.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import cv2
import numpy as np

from tasks.errors import RequestError
from tasks.filters.onnx_network import open_network, require_onnxruntime
from tasks.filters.settings import NUDENET, NuditySettings
from tasks.model_files import files_digest, folder_digest

LOOKED_AT = 3  # frames of a clip: the first, the middle and the last
_FIELD = "nudity: model"
_SIDE_PX = 224  # where a network leaves the size of its input open: what most classifiers are trained with
_NUDENET_LABELS = (
    "ANUS_EXPOSED",
    "BUTTOCKS_EXPOSED",
    "FEMALE_BREAST_EXPOSED",
    "FEMALE_GENITALIA_EXPOSED",
    "MALE_GENITALIA_EXPOSED",
)

Detector = Callable[[np.ndarray], np.ndarray]
"""Takes uint8 RGB frames (n, h, w, 3) and gives scores (n,) in 0..1."""


def nudity(frames_nhwc: np.ndarray, settings: NuditySettings) -> float:
    """Gives the highest score of the frames that are looked at, in the precision of float32."""
    picked = sorted({0, len(frames_nhwc) // 2, len(frames_nhwc) - 1})
    return float(load_detector(settings)(frames_nhwc[picked]).astype(np.float32).max())


def nudity_digest(settings: NuditySettings) -> str:
    """Identifies the detector with its labels; RequestError when it is not there. Reads files only."""
    model = str(settings.model)
    if model == NUDENET:
        files = f"{NUDENET} {_nudenet_version()}"
    elif model.endswith(".onnx"):
        if not Path(model).is_file():
            raise RequestError(f"{_FIELD}: {model} is not a file")
        require_onnxruntime(_FIELD)
        files = files_digest([Path(model)])
    elif Path(model).is_dir():
        files = folder_digest(Path(model))
    elif Path(model).is_absolute():
        raise RequestError(f"{_FIELD}: {model} is not a folder")
    else:
        files = model
    read = settings.model_dump(exclude={"model", "licence"})
    return blake2b(json.dumps([files, LOOKED_AT, read], sort_keys=True).encode(), digest_size=16).hexdigest()


@lru_cache(maxsize=2)
def load_detector(settings: NuditySettings) -> Detector:
    """Loads it once in a process; RequestError, naming the model, where that cannot be done."""
    model = str(settings.model)
    if model == NUDENET:
        return _nudenet(settings.labels or _NUDENET_LABELS)
    if model.endswith(".onnx"):
        return _onnx_classifier(Path(model), settings)
    return _transformers_classifier(model, settings.labels)


def _onnx_classifier(path: Path, settings: NuditySettings) -> Detector:
    """Of one input, images as (n, 3, h, w) or (n, h, w, 3), and an output (n, classes)."""
    network = open_network(path, _FIELD)
    shape = network.input_shape
    if len(shape) != 4 or 3 not in (shape[1], shape[3]):
        raise RequestError(
            f"{_FIELD}: {path} takes inputs of shape {shape}, not images (n, 3, h, w) or (n, h, w, 3)"
        )
    channels_first = shape[1] == 3
    height, width = (size or _SIDE_PX for size in (shape[2:4] if channels_first else shape[1:3]))
    mean, std = (np.asarray(values, np.float32) for values in (settings.mean, settings.std))
    classes = [int(label) for label in settings.labels]

    def detect(frames_nhwc: np.ndarray) -> np.ndarray:
        resized = [cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in frames_nhwc]
        inputs = (np.stack(resized).astype(np.float32) / 255 - mean) / std
        if channels_first:
            inputs = np.ascontiguousarray(inputs.transpose(0, 3, 1, 2))
        # One by one: many networks are exported for a single image.
        outputs_nk = np.concatenate([network(one[None]) for one in inputs])
        return _likely(outputs_nk, classes, settings.activation)

    (probe,) = detect(np.zeros((1, height, width, 3), np.uint8)).shape  # says at once what does not fit
    assert probe == 1
    return detect


def _likely(outputs_nk: np.ndarray, classes: Sequence[int], activation: str) -> np.ndarray:
    """Scores (n,) of the classes: their sum where exactly one of all is true (softmax), else the largest."""
    if outputs_nk.ndim != 2 or max(classes) >= outputs_nk.shape[1]:
        raise RequestError(
            f"nudity: labels: the model gives {outputs_nk.shape[1:]} classes, and {max(classes)} is none of them"
        )
    values_nk = outputs_nk.astype(np.float64)
    if activation == "softmax":
        values_nk = np.exp(values_nk - values_nk.max(axis=1, keepdims=True))
        return (values_nk / values_nk.sum(axis=1, keepdims=True))[:, classes].sum(axis=1)
    if activation == "sigmoid":
        values_nk = 1 / (1 + np.exp(-values_nk))
    return values_nk[:, classes].max(axis=1)


def _transformers_classifier(model: str, labels: Sequence[str]) -> Detector:
    import torch
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    from tasks.transformers_models import load_network

    processor, network = load_network(_FIELD, model, AutoImageProcessor, AutoModelForImageClassification)
    number_of = {name: int(number) for number, name in network.config.id2label.items()}
    unknown = [label for label in labels if label not in number_of]
    if unknown:
        raise RequestError(f"nudity: labels: {unknown[0]} is none of {', '.join(number_of)}")
    network.eval()
    classes = [number_of[label] for label in labels]

    def detect(frames_nhwc: np.ndarray) -> np.ndarray:
        pixels_nchw = processor(images=list(frames_nhwc), return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            return _likely(network(pixel_values=pixels_nchw).logits.numpy(), classes, "softmax")

    return detect


def _nudenet_version() -> str:
    try:
        return version(NUDENET)
    except PackageNotFoundError as error:
        raise RequestError(
            f"{_FIELD}: {NUDENET} is not installed; it is under AGPL-3.0, so nothing of ours brings it: "
            "pip install nudenet, if that licence suits you"
        ) from error


def _nudenet(labels: Sequence[str]) -> Detector:
    _nudenet_version()
    from nudenet import NudeDetector

    detector = NudeDetector()

    def detect(frames_nhwc: np.ndarray) -> np.ndarray:
        found = [detector.detect(np.ascontiguousarray(frame_hwc[..., ::-1])) for frame_hwc in frames_nhwc]
        scores = [[box["score"] for box in boxes if box["class"] in labels] for boxes in found]
        return np.asarray([max(of_frame, default=0.0) for of_frame in scores])

    return detect
