"""Which words of a text a model never reads, because its tokenizer takes only so many tokens and cuts off the rest."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Any

# Words end at white space; Thai, kana and Chinese characters, written without any, count one by one.
_UNSPACED = r"\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"
_WORD = re.compile(rf"\s*(?:[{_UNSPACED}]|[^\s{_UNSPACED}]+)")


def lost_words(tokenizer: Any, text: str) -> str:
    """The end of a text that a tokenizer cuts off, from the first word that is not read whole; "" when all is read.

    Takes a tokenizer of transformers, cut at its `model_max_length`, or of open_clip, cut at its `context_length`.
    """
    limit = token_limit(tokenizer)
    if _count(tokenizer, text) <= limit:
        return ""
    words = _WORD.findall(text)
    whole = bisect_right(
        range(len(words)), limit, key=lambda last: _count(tokenizer, "".join(words[: last + 1]))
    )
    return "".join(words[whole:]).strip()


def token_limit(tokenizer: Any) -> int:
    """How many tokens a model gets of a text at most, those of the beginning and the end among them."""
    length = getattr(tokenizer, "context_length", None)
    return int(tokenizer.model_max_length if length is None else length)


def _count(tokenizer: Any, text: str) -> int:
    """How many tokens the whole text would make, those of the beginning and the end among them."""
    if hasattr(tokenizer, "encoder") and hasattr(tokenizer, "clean_fn"):  # open_clip's own
        return len(tokenizer.encode(text)) + 2
    if hasattr(tokenizer, "clean_fn"):  # open_clip's wrapper of one of transformers
        tokenizer, text = tokenizer.tokenizer, tokenizer.clean_fn(text)
    return len(tokenizer(text, truncation=False, verbose=False).input_ids)
