"""The text states that guide each clip of a batch of videos: of texts, or given as embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch

from vidrd_model.errors import ModelError
from vidrd_model.lora import adapter_state
from vidrd_model.prompts import negative_texts, warn_of_lost_words
from vidrd_model.video_batch import VideoBatch

if TYPE_CHECKING:
    from vidrd_model.call_arguments import CallArguments, ClipArguments
    from vidrd_model.pipeline import VidRDPipeline


@torch.no_grad()
def encode_texts(
    pipe: VidRDPipeline, texts: Sequence[str], clip_skip: int | None = None, lora_scale: float = 1.0
) -> torch.Tensor:
    """The text encoder's states of each text, (b, tokens, width), without its last `clip_skip` layers.

    Raises ModelError when there are not so many.
    """
    if pipe.text_encoder is None or pipe.tokenizer is None:
        raise ModelError(
            "texts need a text encoder and a tokenizer; give prompt_embeds and negative_prompt_embeds"
        )
    tokens = pipe.tokenizer(
        list(texts),
        padding="max_length",
        max_length=pipe.tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    encoder, device = pipe.text_encoder, pipe.text_encoder.device
    ids = tokens.input_ids.to(pipe._execution_device if device.type == "meta" else device)
    with pipe.scaled_lora(lora_scale):
        return _states(encoder, ids, clip_skip)


def _states(encoder: Any, ids: torch.Tensor, clip_skip: int | None) -> torch.Tensor:
    if not clip_skip:
        states_btd: torch.Tensor = encoder(ids)[0]
        return states_btd
    layers = encoder.config.num_hidden_layers
    if not 0 <= clip_skip < layers:
        raise ModelError(f"clip_skip must lie in 0..{layers - 1}, not {clip_skip}")
    hidden_btd = encoder(ids, output_hidden_states=True).hidden_states[-1 - clip_skip]
    # The states of the last layer have gone through the norm, those of the others have not.
    normed_btd: torch.Tensor = getattr(encoder, "text_model", encoder).final_layer_norm(hidden_btd)
    return normed_btd


class TextConditions:
    """States b t d of the videos' texts, encoded when the first clip needs them and when a story goes on.

    LoRA layers of the text encoder that have got other weights tell the next clip's texts anew. `negative` are texts or
    states of what the videos should not show, None where nothing guides them.
    """

    def __init__(
        self,
        pipe: VidRDPipeline,
        asked: ClipArguments,
        batch: VideoBatch,
        negative: Sequence[str] | torch.Tensor | None = None,
    ):
        self._encode = partial(encode_texts, pipe, clip_skip=asked.clip_skip, lora_scale=asked.lora_scale())
        self._encoder, self._batch = pipe.text_encoder, batch
        self._given = None if asked.prompt_embeds is None else self._copies(asked.prompt_embeds)
        self._negative = self._copies(negative) if isinstance(negative, torch.Tensor) else negative
        self._kept: dict[str, tuple[object, torch.Tensor]] = {}

    def of_clip(self, clip: int) -> torch.Tensor:
        """The states of a clip, (b n) t d where a text changes in it; the very same tensor while the texts stay."""
        return self._states("prompt", self._batch.texts(clip)) if self._given is None else self._given

    @property
    def negative_btd(self) -> torch.Tensor | None:
        """The states of what the videos should not show; the very same tensor for all clips."""
        if self._negative is None or isinstance(self._negative, torch.Tensor):
            return self._negative
        return self._states("negative_prompt", [[text] for text in self._negative])

    def _states(self, name: str, texts: Sequence[Sequence[str]]) -> torch.Tensor:
        made_of = (list(texts), None if self._encoder is None else adapter_state(self._encoder))
        if name not in self._kept or self._kept[name][0] != made_of:
            self._kept[name] = (made_of, self._copies(self._of_texts(texts)))
        return self._kept[name][1]

    def _of_texts(self, texts: Sequence[Sequence[str]]) -> torch.Tensor:
        if len(texts[0]) == 1:
            return self._encode([text for (text,) in texts])
        frames = list(chain.from_iterable(texts))
        distinct = list(dict.fromkeys(frames))
        return self._encode(distinct)[[distinct.index(text) for text in frames]]

    def _copies(self, states_btd: torch.Tensor) -> torch.Tensor:
        copies = self._batch.copies
        if copies == 1:
            return states_btd
        of_prompts = states_btd.unflatten(0, (len(self._batch.stories), -1))
        return of_prompts.repeat_interleave(copies, dim=0).flatten(0, 1)


def text_conditions(
    pipe: VidRDPipeline,
    asked: CallArguments,
    batch: VideoBatch,
    negative_prompt: str | Sequence[str] | None,
    guided: bool,
) -> TextConditions:
    """The conditions of a batch, after a warning of words that the text encoder does not read.

    Raises ModelError for negative texts or embeddings that do not fit the prompts.
    """
    texts, embeds = negative_texts(negative_prompt, len(batch.stories)), asked.negative_prompt_embeds
    if pipe.tokenizer is not None:
        warn_of_lost_words(pipe.tokenizer, [story.texts for story in batch.stories], texts)
    if not guided:
        return TextConditions(pipe, asked, batch)
    if embeds is not None:
        _check_shapes(len(batch.stories), asked.prompt_embeds, embeds)
    return TextConditions(pipe, asked, batch, texts if embeds is None else embeds)


def _check_shapes(prompts: int, prompt_embeds: torch.Tensor | None, negative_embeds: torch.Tensor) -> None:
    found = tuple(negative_embeds.shape)
    wanted = (prompts, *found[1:]) if prompt_embeds is None else tuple(prompt_embeds.shape)
    if len(found) != 3 or found != wanted:
        raise ModelError(
            f"negative_prompt_embeds must be (videos, tokens, width) as the prompt's, not {found}"
        )
