"""Words that a tokenizer cuts off, found out beside what the models get to see: the tokens themselves."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidrd_model.lost_words import lost_words

NAMES = (
    "transformers 16",
    "transformers 77",
    "open_clip 16",
    "open_clip 77",
    "open_clip around transformers 16",
)
WORDS = st.lists(
    st.sampled_from(
        [
            "a",
            "red",
            "circle,",
            "moving",
            "Extraordinarily",
            "photograph",
            "3840x2160",
            "été",
            "🎈",
            "狐狸",
            "don't",
        ]
    ),
    max_size=60,
)


@pytest.fixture(scope="module")
def tokenizers(tiny_profile: Any) -> dict[str, Any]:
    import open_clip
    from transformers import CLIPTokenizer

    from vidrd_model.clip import MERGES_FILE

    folder = Path(tiny_profile.model) / "tokenizer"
    wide = CLIPTokenizer.from_pretrained(folder)
    wide.model_max_length = 77
    merges = str(Path(tiny_profile.clip) / MERGES_FILE)
    return {
        "transformers 16": CLIPTokenizer.from_pretrained(folder),
        "transformers 77": wide,
        "open_clip 16": open_clip.SimpleTokenizer(merges, context_length=16),
        "open_clip 77": open_clip.SimpleTokenizer(),
        "open_clip around transformers 16": open_clip.tokenizer.HFTokenizer(str(folder), context_length=16),
    }


def _seen(tokenizer: Any, text: str) -> list[int]:
    """The tokens that a model gets."""
    if hasattr(tokenizer, "context_length"):
        return tokenizer([text])[0].tolist()
    length = tokenizer.model_max_length
    return tokenizer(text, truncation=True, max_length=length, padding="max_length").input_ids


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(words=WORDS, spaces=st.sampled_from([" ", "  ", "\n"]))
def test_what_is_read_counts_and_what_is_lost_does_not(
    tokenizers: dict[str, Any], name: str, words: list[str], spaces: str
) -> None:
    tokenizer, text = tokenizers[name], spaces.join(words)
    lost = lost_words(tokenizer, text)
    assert text.endswith(lost)
    kept = text[: len(text) - len(lost)].rstrip()
    assert lost_words(tokenizer, kept) == ""
    seen = _seen(tokenizer, text)
    if not lost:
        assert _seen(tokenizer, f"{kept} red") != seen or lost_words(tokenizer, f"{kept} red") == "red"
        return
    # The first lost word may be read in part; whatever follows it is not read at all.
    first = lost.split()[0]
    assert _seen(tokenizer, text[: len(text) - len(lost)] + f"{first} moving left") == seen or "狐狸" in first
    for place in range(len(kept.split())):
        others = kept.split()
        others[place] = "triangle" if others[place] != "triangle" else "square"
        assert _seen(tokenizer, f"{' '.join(others)} {lost}") != seen


@pytest.mark.parametrize("name", NAMES)
def test_words_are_whole_and_nothing_is_logged(
    tokenizers: dict[str, Any], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    limit = 16 if name.endswith("16") else 77
    with caplog.at_level(logging.WARNING):
        fitting = " ".join(["red"] * (limit - 2))
        assert lost_words(tokenizers[name], fitting) == ""
        assert lost_words(tokenizers[name], f"{fitting} circle  moving") == "circle  moving"
        assert lost_words(tokenizers[name], "") == lost_words(tokenizers[name], "  \n") == ""
        assert lost_words(tokenizers[name], "狐" * 200).count("狐") in range(100, 200)
        assert lost_words(tokenizers[name], f"red {'x1' * 200} left") == f"{'x1' * 200} left"
    assert not caplog.records
