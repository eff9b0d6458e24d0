"""Captions by a vision-language model that sees several frames of a clip, in batches, one caption for each prompt."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from tasks.captions.settings import CaptionerSettings
from tasks.errors import ItemError, RequestError
from tasks.transformers_models import load_network

SILENT = "the captioner wrote no caption"


class VideoCaptioner:
    """A model of transformers' image-text-to-text kind, a folder or hub id (`id@revision` pins it), loaded once.

    It gets frames spread evenly over a clip as pictures, in their order, and a prompt, and writes greedily. It always
    sees `batch_clips` clips, padded with copies, and all of one batch have the same frames and prompt, so a caption
    depends neither on the order of the work nor on its neighbours. Raises RequestError, naming the model, when it
    cannot be loaded: only weights in safetensors are, and no code of the model's.
    """

    def __init__(self, settings: CaptionerSettings) -> None:
        self._settings = settings
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._processor, model = _load(str(settings.model), self._device)
        self.model = model.to(self._device).eval()

    def write(self, clips: Sequence[tuple[np.ndarray, str]]) -> list[list[str] | ItemError]:
        """Gives distinct captions of each clip, uint8 frames (n, h, w, 3) and clip_id; an error instead of none."""
        written: list[list[str]] = [[] for _ in clips]
        size = self._settings.batch_clips
        for prompt in self._settings.prompts:
            for start in range(0, len(clips), size):
                texts = self._batch([frames for frames, _ in clips[start : start + size]], prompt)
                for of_clip, text in zip(written[start:], texts, strict=False):
                    if text and text not in of_clip:
                        of_clip.append(text)
        return [texts or ItemError(SILENT, stage="caption") for texts in written]

    def inputs(self, clips: Sequence[np.ndarray], prompt: str) -> Any:
        """What the model is given for clips of one number of frames."""
        pictures = [_spread(frames_nhwc, self._settings.frames) for frames_nhwc in clips]
        content = [*[{"type": "image"}] * len(pictures[0]), {"type": "text", "text": prompt}]
        asked = self._processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        given = self._processor(text=[asked] * len(clips), images=pictures, return_tensors="pt", padding=True)
        return given.to(self._device)

    def _batch(self, clips: Sequence[np.ndarray], prompt: str) -> list[str]:
        inputs = self.inputs([*clips, *[clips[-1]] * (self._settings.batch_clips - len(clips))], prompt)
        with torch.inference_mode():
            tokens = self.model.generate(
                **inputs, do_sample=False, num_beams=1, max_new_tokens=self._settings.max_tokens
            )
        texts = self._processor.batch_decode(
            tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
        )
        return [" ".join(text.split()) for text in texts[: len(clips)]]


def _spread(frames_nhwc: np.ndarray, count: int) -> list[Image.Image]:
    """So many frames from the first to the last, or all there are."""
    numbers = np.linspace(0, len(frames_nhwc) - 1, min(count, len(frames_nhwc))).round().astype(int)
    return [Image.fromarray(frames_nhwc[number]) for number in numbers]


def _load(model: str, device: str) -> tuple[Any, Any]:
    """Gives the processor and the model; float32 on a CPU, on a GPU in the precision of its weights."""
    dtype = torch.float32 if device == "cpu" else "auto"
    try:
        processor, network = load_network(
            "captioner", model, AutoProcessor, AutoModelForImageTextToText, dtype
        )
    except ImportError as error:
        missing = "" if find_spec("num2words") else ": pip install 'vidrd[captions]'"
        raise RequestError(f"captioner: {model} needs a package that is not installed{missing}") from error
    if not getattr(processor, "chat_template", None):
        raise RequestError(f"captioner: {model} has no chat template, so nobody knows how to ask it")
    processor.tokenizer.padding_side = "left"  # what is written comes at the end
    return processor, network
