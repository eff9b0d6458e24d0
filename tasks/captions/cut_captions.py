"""Texts that a model reads the beginning of only: counted for what is to condition on them, and to score by them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from tasks.errors import RequestError
from tasks.model_files import hub_folder
from vidrd_model.errors import ModelError
from vidrd_model.lost_words import lost_words, token_limit

CONDITIONING, SCORING = "conditioning", "scoring"
_READERS = {CONDITIONING: "the model's text encoder", SCORING: "CLIP"}
_SHOWN_CHARACTERS = 120
_TEXTS_AT_ONCE = 65_536


@dataclass(frozen=True)
class Cut:
    """How many texts a tokenizer cuts `of` all, how many tokens it takes, and one of the texts with what it loses.

    `unknown` says why nothing could be counted.
    """

    cut: int = 0
    of: int = 0
    tokens: int | None = None
    example: str | None = None
    lost: str | None = None
    unknown: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON, without what there is not."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def count_cut(model: str | Path, clip_model: str, texts: Mapping[str, Iterable[str]]) -> dict[str, Any]:
    """Tells what is cut of the texts for `conditioning` and of those for `scoring`, as `Cut.as_dict` has it.

    `model` is a model folder or hub id, `clip_model` an open_clip folder or name; texts are read once. Where a
    folder says how many tokens it takes and no text can make more, no tokenizer is loaded, which takes seconds.
    """
    readers = {
        CONDITIONING: _Reader(_text_encoder_tokens(model), lambda: _text_encoder_tokenizer(model)),
        SCORING: _Reader(_clip_tokens(clip_model), lambda: _clip_tokenizer(clip_model)),
    }
    return {role: _count(readers[role], some).as_dict() for role, some in texts.items()}


def cut_lines(counts: Mapping[str, Mapping[str, Any]], what: str = "captions") -> list[str]:
    """Gives a line for each role in which something is cut, for people."""
    lines = []
    for role, cut in counts.items():
        if cut.get("cut"):
            lines.append(
                f"{cut['cut']} of {cut['of']} {what} are longer than the {cut['tokens']} tokens that {_READERS[role]} "
                f"takes ({role}): the rest is not read, of {_shown(cut['example'])!r} it is {_shown(cut['lost'])!r}"
            )
    return lines


class _Reader:
    """A tokenizer that is loaded when it is first needed: with it come torch and seconds."""

    def __init__(self, tokens: int | None, load: Callable[[], Any]) -> None:
        self._tokens, self._load = tokens, load
        self._tokenizer: Any = None

    @property
    def tokens(self) -> int:
        """How many it takes: as its files say, if these do."""
        if self._tokens is None:
            tokenizer = self._loaded()

            self._tokens = token_limit(tokenizer)
        return self._tokens

    def lost_words(self, text: str) -> str:
        """Tells what it cuts of a text; RequestError when there is no such tokenizer."""
        if not _may_exceed(text, self.tokens):
            return ""

        return lost_words(self._loaded(), text)

    def _loaded(self) -> Any:
        if self._tokenizer is None:
            try:
                self._tokenizer = self._load()
            except (ModelError, OSError, ValueError) as error:
                raise RequestError((str(error).strip().splitlines() or [type(error).__name__])[0]) from error
        return self._tokenizer


def _count(reader: _Reader, texts: Iterable[str]) -> Cut:
    cut = of = 0
    example: tuple[str, str] | None = None
    stream = iter(texts)
    try:
        # Within a part each text is looked at once: class names come again and again.
        while part := Counter(islice(stream, _TEXTS_AT_ONCE)):
            of += part.total()
            for text, times in part.items():
                if lost := reader.lost_words(text):
                    cut += times
                    example = min(example or (text, lost), (text, lost))
        return Cut(cut, of, reader.tokens, *(example or (None, None)))
    except RequestError as error:
        return Cut(of=of + sum(1 for _ in stream), unknown=str(error))


def _may_exceed(text: str, tokens: int) -> bool:
    """Whether a text could make more tokens, with one of the beginning and one of the end: each is a byte at least.

    Tokenizers spell some signs out first, so it is certain of plain text alone.
    """
    return not text.isascii() or "&" in text or len(text) + 2 > tokens


def _text_encoder_tokens(model: str | Path) -> int | None:
    found = _json(Path(model) / "tokenizer" / "tokenizer_config.json").get("model_max_length")
    return found if isinstance(found, int) else None


def _text_encoder_tokenizer(model: str | Path) -> Any:
    from transformers import AutoTokenizer

    folder = Path(model)
    if not folder.is_dir():
        folder = hub_folder("model", str(model), ["tokenizer/*"])
    return AutoTokenizer.from_pretrained(folder / "tokenizer", trust_remote_code=False)


def _clip_tokens(clip_model: str) -> int | None:
    found = _json(Path(clip_model) / "open_clip_config.json").get("model_cfg", {}).get("text_cfg", {})
    tokens = found.get("context_length") if isinstance(found, dict) else None
    return tokens if isinstance(tokens, int) else None


def _clip_tokenizer(clip_model: str) -> Any:
    from vidrd_model.clip import clip_tokenizer

    return clip_tokenizer(clip_model)


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
