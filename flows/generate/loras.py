"""The LoRA files of a request: FILE, or FILE:WEIGHT."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from storage.local.typed_paths import expanded
from tasks.errors import RequestError
from tasks.generation.loras import WeightedLora


def read_loras(given: Sequence[str]) -> tuple[WeightedLora, ...]:
    """Gives the files and what each counts, 1 where nothing is said; RequestError for one that is not there."""
    if given and find_spec("peft") is None:
        raise RequestError("lora: needs peft: pip install 'vidrd[lora]'")
    return tuple(_read(one) for one in given)


def shown_loras(loras: Sequence[WeightedLora]) -> list[dict[str, Any]]:
    """Gives what makes a video again: a file by its name and content, which tell it wherever it lies."""
    return [{"file": lora.file.name, "weight": lora.weight, "digest": _digest(lora.file)} for lora in loras]


def _read(given: str) -> WeightedLora:
    name, colon, number = given.rpartition(":")
    if not colon or Path(expanded(given)).exists():
        name, number = given, "1"
    try:
        weight = float(number)
    except ValueError:
        raise RequestError(f"lora: {given}: {number!r} is no weight; write FILE or FILE:0.8") from None
    file = Path(expanded(name)).absolute()
    if not file.is_file():
        raise RequestError(f"lora: {name}: there is no such file")
    return WeightedLora(file, weight)


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        digest = blake2b(digest_size=16)
        while part := opened.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()
