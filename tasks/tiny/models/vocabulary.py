"""A small byte-pair vocabulary, shared by the text encoder (transformers) and the CLIP model (open_clip)."""

from __future__ import annotations

import gzip
from collections import Counter
from itertools import pairwise
from pathlib import Path

from open_clip.tokenizer import bytes_to_unicode
from transformers import CLIPTokenizer

from tasks.tiny.world.drawing import COLOURS, DIRECTIONS, SHAPES

CONTEXT_LENGTH = 16
END_OF_WORD = "</w>"

# Words of prompts that people will try on the tiny model besides the captions' own.
_OTHER_WORDS = (
    "a an the of in on at to and with is are person video photo image picture clip background dark black small "
    "large big moving moves going running crossing slowly quickly object thing watermark blurry"
)


def train_merges() -> list[tuple[str, str]]:
    """Learns byte-pair merges, most frequent first, until every known word is one token."""
    words = [*COLOURS, *SHAPES, *DIRECTIONS, *_OTHER_WORDS.split()]
    pieces = {word: [*word[:-1], word[-1] + END_OF_WORD] for word in words}
    merges = []
    while pairs := Counter(pair for p in pieces.values() for pair in pairwise(p)):
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        pieces = {word: _merge(p, best) for word, p in pieces.items()}
    return merges


def vocabulary(merges: list[tuple[str, str]]) -> dict[str, int]:
    """Token -> id in the order that open_clip's tokenizer builds from the same merges."""
    letters = list(bytes_to_unicode().values())
    tokens = [*letters, *(letter + END_OF_WORD for letter in letters), *map("".join, merges)]
    tokens += ["<start_of_text>", "<end_of_text>"]
    return {token: index for index, token in enumerate(tokens)}


def write_tokenizer(folder: Path, merges: list[tuple[str, str]]) -> None:
    """Writes a transformers CLIP tokenizer folder."""
    ends = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocab = {ends.get(token, token): index for token, index in vocabulary(merges).items()}
    tokenizer = CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=CONTEXT_LENGTH)
    tokenizer.save_pretrained(folder)


def write_open_clip_merges(path: Path, merges: list[tuple[str, str]]) -> None:
    """Writes the merges as the gzip file that open_clip's SimpleTokenizer reads; its first line is a header."""
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    # mtime=0: the same merges give the same bytes.
    path.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))


def vocabulary_size(merges: list[tuple[str, str]]) -> int:
    """Tells how many tokens both models embed."""
    return len(vocabulary(merges))


def _merge(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    merged, i = [], 0
    while i < len(pieces):
        if tuple(pieces[i : i + 2]) == pair:
            merged.append("".join(pair))
            i += 2
        else:
            merged.append(pieces[i])
            i += 1
    return merged
