"""Prompts that are longer than a model's text encoder reads, found before anything is sampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import AutoTokenizer

from vidrd_model.lost_words import lost_words


@dataclass(frozen=True)
class UnreadText:
    """A text, which of a request's it is, and the words at its end that the model never reads."""

    name: str
    text: str
    lost: str


def unread_texts(model_dir: Path, texts: Sequence[tuple[str, str]]) -> list[UnreadText]:
    """Those of the (name, text) pairs that the model reads in part only, each once."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(model_dir / "tokenizer", trust_remote_code=False)
    except (OSError, ValueError):
        return []  # the pipeline says what is wrong with a folder
    unread = [UnreadText(name, text, lost_words(tokenizer, text)) for name, text in dict.fromkeys(texts)]
    return [text for text in unread if text.lost]
