"""The texts and seeds of a batch of videos, checked: a text for all, one for each, or a story for each."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from operator import index
from typing import Any, SupportsIndex

import numpy as np

from vidrd_model.errors import ModelError
from vidrd_model.lost_words import lost_words

Prompt = str | Sequence[str] | Mapping[int, str]
"""The text of one video: one for all its clips, one for each (a story), of which the last one stays, or texts by the
frames of the video that they begin at."""

_log = logging.getLogger(__name__)


def stories_and_seeds(
    prompt: str | Sequence[Prompt], seed: int | Sequence[SupportsIndex]
) -> tuple[list[list[str]], list[int]]:
    """For each video its texts, one or more, and its seed. ModelError when they do not fit each other."""
    videos = [prompt] if isinstance(prompt, str) else _listed("prompt", prompt)
    stories = [[video] if isinstance(video, str) else _texts("prompt", video) for video in videos]
    seeds = [int(seed)] * len(stories) if isinstance(seed, int | np.integer) else [index(one) for one in seed]
    if not stories or not all(stories):
        raise ModelError("a video without any prompt")
    if len(seeds) != len(stories):
        raise ModelError(f"{len(stories)} prompts need as many seeds, got {len(seeds)}")
    return stories, seeds


def negative_texts(negative_prompt: str | Sequence[str] | None, num_videos: int) -> list[str]:
    """What each video should not show: one text for all, none, or a list of one for each. ModelError for others."""
    if negative_prompt is None:
        return [""] * num_videos
    if isinstance(negative_prompt, str):
        return [negative_prompt] * num_videos
    texts = _texts("negative_prompt", negative_prompt)
    if len(texts) != num_videos:
        raise ModelError(f"{num_videos} videos take one negative_prompt or as many, got {len(texts)}")
    return texts


def warn_of_lost_words(tokenizer: Any, stories: Iterable[Iterable[str]], negative: Iterable[str]) -> None:
    """One warning for each text that is longer than what the text encoder reads, with the words that are lost."""
    texts = [("prompt", text) for story in stories for text in story]
    texts += [("negative_prompt", text) for text in negative]
    for name, text in dict.fromkeys(texts):
        lost = lost_words(tokenizer, text)
        if lost:
            _log.warning("%s is longer than the text encoder reads; these words are lost: %s", name, lost)


def _listed(name: str, texts: Any) -> list[Any]:
    if not isinstance(texts, Iterable):
        raise ModelError(f"{name} must be a text or a list of texts, not {texts!r}")
    return list(texts)


def _texts(name: str, texts: Any) -> list[str]:
    listed = _listed(name, texts)
    for text in listed:
        if not isinstance(text, str):
            raise ModelError(f"{name} must be made of texts, not {text!r}")
    return listed
