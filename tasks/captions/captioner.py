"""Captions written by a model, beside those of the corpus: the CLIP scorer then takes the best of them."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import BlipForConditionalGeneration, BlipProcessor

from tasks.errors import ItemError
from tasks.transformers_models import load_network

_TOP_P = 0.9  # what BLIP's authors sample with


class Captioner:
    """An image captioner of the BLIP family, a folder or hub id (`id@revision` pins it), loaded once.

    Each clip is one batch of the same shape, and its random numbers come from its clip_id and the seed, so its
    captions do not depend on the order of the work. Raises RequestError, naming the model, when it cannot be loaded.
    """

    def __init__(self, model: str | Path, candidates: int = 3, max_tokens: int = 30, seed: int = 0) -> None:
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._processor, blip = load_network(
            "captioner", model, BlipProcessor, BlipForConditionalGeneration, kind="blip"
        )
        self._model = blip.to(self._device).eval()
        self._sampled = candidates - 1
        self._max_tokens = max_tokens
        self._seed = seed

    def write(self, clips: Sequence[tuple[np.ndarray, str]]) -> list[list[str] | ItemError]:
        """Gives the captions of each clip and clip_id; an error for one of which it wrote none."""
        written: list[list[str] | ItemError] = []
        for frames_nhwc, clip_id in clips:
            try:
                written.append(self.captions(frames_nhwc, clip_id))
            except ItemError as error:
                written.append(error)
        return written

    def captions(self, frames_nhwc: np.ndarray, clip_id: str) -> list[str]:
        """Gives distinct captions of the middle frame of uint8 frames (n, h, w, 3): a greedy one, then sampled ones.

        As many as `candidates`, or fewer when some are equal or empty; ItemError when all are empty.
        """
        image = Image.fromarray(frames_nhwc[len(frames_nhwc) // 2])
        pixels_bchw = self._processor(images=image, return_tensors="pt")["pixel_values"].to(self._device)
        devices = [torch.cuda.current_device()] if self._device == "cuda" else []
        with torch.inference_mode(), torch.random.fork_rng(devices):
            torch.manual_seed(_clip_seed(self._seed, clip_id))
            texts = self._generate(pixels_bchw, do_sample=False)
            if self._sampled:
                texts += self._generate(
                    pixels_bchw, do_sample=True, top_p=_TOP_P, top_k=0, num_return_sequences=self._sampled
                )
        written = list(dict.fromkeys(text for text in texts if text))
        if not written:
            raise ItemError("the captioner wrote no caption", stage="caption")
        return written

    def _generate(self, pixels_bchw: Any, **how: Any) -> list[str]:
        tokens = self._model.generate(
            pixel_values=pixels_bchw, num_beams=1, max_new_tokens=self._max_tokens, **how
        )
        # The first token only says that a caption begins, which not every tokenizer knows.
        texts = self._processor.batch_decode(tokens[:, 1:], skip_special_tokens=True)
        return [" ".join(text.split()) for text in texts]


def _clip_seed(seed: int, clip_id: str) -> int:
    return int.from_bytes(blake2b(f"{seed}\0{clip_id}".encode(), digest_size=8).digest(), "big") >> 1
