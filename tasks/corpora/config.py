"""The corpora file: which corpora there are, where they lie and how they are laid out."""

from __future__ import annotations

import re
import reprlib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tasks.corpora.corpus import Corpus
from tasks.corpora.hf import HUB
from tasks.corpora.readers import read_sources
from tasks.errors import RequestError

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w.-]+)?", re.ASCII)


@dataclass(frozen=True)
class Corpora:
    """A corpora file that was read: where it lies and the corpora that it names."""

    path: Path
    corpora: tuple[Corpus, ...]


def read_corpora(path: Path, captions_needed: bool = True) -> Corpora:
    """Reads a corpora file as `load_corpora` does, and remembers which it was."""
    return Corpora(path, tuple(load_corpora(path, captions_needed)))


def load_corpora(path: Path | str, captions_needed: bool = True) -> list[Corpus]:
    """Reads a corpora file and looks into every corpus it names, as `read_sources` does.

    What is wrong with several corpora is said at once. Raises RequestError, one line that names the file and the
    table: no such file, broken TOML, an unknown key, kind or format, a path that does not exist or an address that
    cannot be reached, a corpus without any media.
    """
    path = Path(path)
    tables = _read_tables(path)
    corpora = [_corpus(path, number, table) for number, table in enumerate(tables, start=1)]
    names = [corpus.name for corpus in corpora]
    for name in names:
        if names.count(name) > 1:
            raise RequestError(f"{path}: two corpora are called {name!r}; give every corpus its own name")
    wrong = [said for corpus in corpora if (said := _what_is_wrong(corpus, captions_needed))]
    if wrong:
        raise RequestError(f"{path}: {'; '.join(wrong)}")
    return corpora


def _read_tables(path: Path) -> list[Any]:
    try:
        with path.open("rb") as file:
            document = tomllib.load(file)
    except FileNotFoundError:
        raise RequestError(f"{path}: no such corpora file") from None
    except OSError as error:
        raise RequestError(f"{path}: the corpora file cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"{path}: not valid TOML: {error}") from None
    except RecursionError:
        raise RequestError(f"{path}: not a corpora file: lists stand in lists without end") from None
    unknown = sorted(set(document) - {"corpus"})
    if unknown:
        raise RequestError(f"{path}: unknown key {unknown[0]!r} at the top; corpora are [[corpus]] tables")
    tables = document.get("corpus")
    if not isinstance(tables, list) or not tables:
        raise RequestError(f"{path}: names no corpus; write at least one [[corpus]] table")
    return tables


def _corpus(path: Path, number: int, table: Any) -> Corpus:
    name = table.get("name") if isinstance(table, dict) else None
    where = f"{path}: [[corpus]] {name!r}" if name else f"{path}: [[corpus]] number {number}"
    try:
        corpus = Corpus.model_validate(table)
    except ValidationError as error:
        raise RequestError(f"{where}: {_first_complaint(error)}") from None
    if isinstance(corpus.path, str):
        return corpus
    place = (path.parent / corpus.path).absolute()
    if corpus.format == "hf" and not place.exists() and _HUB_ID.fullmatch(corpus.path.as_posix()):
        return corpus.model_copy(update={"path": HUB + corpus.path.as_posix()})
    return corpus.model_copy(update={"path": place})


def _first_complaint(error: ValidationError) -> str:
    complaints = error.errors(include_url=False)
    # A misspelt key is unknown and its right spelling missing: the first says more.
    complaint = next((c for c in complaints if c["type"] == "extra_forbidden"), complaints[0])
    field = ".".join(map(str, complaint["loc"])) or "table"
    if complaint["type"] == "extra_forbidden":
        return f"unknown key {field!r}; known are {', '.join(Corpus.model_fields)}"
    if complaint["type"] == "missing":
        return f"{field} is missing"
    return f"{field}: {complaint['msg']} (got {reprlib.repr(complaint['input'])})"


def _what_is_wrong(corpus: Corpus, captions_needed: bool) -> str | None:
    """Looks whether the corpus is there, its table can be read and something is in it."""
    try:
        first = next(read_sources(corpus, captions_needed), None)
    except RequestError as error:
        return f"[[corpus]] {corpus.name!r}: {error}"
    if first is None:
        return f"[[corpus]] {corpus.name!r}: no {corpus.kind} in {corpus.path} (format {corpus.format})"
    return None
