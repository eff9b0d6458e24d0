"""Captions as the states of a diffusion model's text encoder, so that training need not run it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer, CLIPTextModel

from tasks.errors import ItemError, RequestError
from tasks.model_files import text_encoder_folder
from vidrd_model.errors import ModelError
from vidrd_model.image_models import load_image_part

_BATCH_CAPTIONS_ON_A_GPU = 32


class TextEncoder:
    """The text encoder and tokenizer of a model folder or hub id (`id@revision` pins it), loaded once.

    It always sees `batch_captions` captions (1 on a CPU), padded with empty ones, so the states of a caption do
    not depend on what else is in flight. Raises RequestError, naming the model, when it has no such parts.
    """

    def __init__(self, model: str | Path, batch_captions: int | None = None) -> None:
        folder = text_encoder_folder(model)
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer", trust_remote_code=False)
            encoder = load_image_part(CLIPTextModel, folder, "text_encoder")
        except ModelError as error:
            raise RequestError(f"model: {error}") from error
        except (OSError, ValueError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise RequestError(f"model: {model}: its tokenizer cannot be loaded ({reason})") from error
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._encoder = encoder.to(self._device)
        self.batch_captions = batch_captions or (_BATCH_CAPTIONS_ON_A_GPU if self._device == "cuda" else 1)

    def encode(self, captions: Sequence[str]) -> np.ndarray:
        """Gives the last hidden states of k captions, float16 (k, tokens, d), as the pipeline computes them.

        Raises ItemError, naming the caption, when its states are not finite in float16.
        """
        width = self._encoder.config.hidden_size
        states_ktd = np.empty((len(captions), self._tokenizer.model_max_length, width), np.float16)
        for start in range(0, len(captions), self.batch_captions):
            batch = captions[start : start + self.batch_captions]
            states_ktd[start : start + len(batch)] = self._encode_batch(batch)[: len(batch)]
        for caption, states_td in zip(captions, states_ktd, strict=True):
            if not np.isfinite(states_td).all():
                raise ItemError(f"the text states of {caption!r} are not finite in float16", stage="encode")
        return states_ktd

    def _encode_batch(self, captions: Sequence[str]) -> np.ndarray:
        padded = [*captions, *[""] * (self.batch_captions - len(captions))]
        tokens = self._tokenizer(
            padded,
            padding="max_length",
            max_length=self._tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        with torch.inference_mode():
            return self._encoder(tokens.input_ids.to(self._device))[0].half().cpu().numpy()
