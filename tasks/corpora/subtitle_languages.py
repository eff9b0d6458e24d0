"""Subtitles that have a language in their names, as downloaders and players write them: `film.en.srt` of `film.mp4`."""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

_LANGUAGE = re.compile(r"[a-z]{2,3}(?:[-_][a-z0-9]{2,8})*", re.IGNORECASE)  # en, eng, pt-BR, zh-Hans, en-orig
_FLAGS = ("auto", "cc", "default", "forced", "full", "hi", "orig", "sdh")
_ENGLISH = ("en", "eng")  # what the models of captions read

Tagged = dict[str, dict[str, list[str]]]
"""By the path of a film without its suffix and by language, the names of its subtitles, the plainest first."""


def tagged_subtitles(names: Iterable[str], suffixes: Sequence[str]) -> Tagged:
    """Gives the subtitles among some names that have a language between the film's name and one of the suffixes."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    plainest_first = sorted(
        (name for name in names if name.lower().endswith(tuple(suffixes))),
        key=lambda name: (
            name.count("."),
            suffixes.index(posixpath.splitext(name)[1].lower()),
            len(name),
            name,
        ),
    )
    for name in plainest_first:
        folder, base = posixpath.split(name)
        film, *tags = base.lower().split(".")[:-1]
        while tags and tags[-1] in _FLAGS:
            tags.pop()
        if tags and film and _LANGUAGE.fullmatch(tags[-1]):
            length = sum(len(part) + 1 for part in (film, *tags[:-1])) - 1
            language = re.split("[-_]", tags[-1])[0]
            found[posixpath.join(folder, base[:length])][language].append(name)
    return {stem: dict(languages) for stem, languages in found.items()}


def chosen_subtitle(languages: Mapping[str, list[str]]) -> str | None:
    """Gives the subtitle that counts: the English one, else that of the only language; None where that is unclear.

    Cues of several languages would speak of one time, and which of them is meant nobody says.
    """
    english = next((names[0] for language, names in languages.items() if language in _ENGLISH), None)
    return english or (next(iter(languages.values()))[0] if len(languages) == 1 else None)


def unclear_language(languages: Mapping[str, list[str]]) -> str:
    """Tells what is wrong where none of them is chosen."""
    listed = ", ".join(posixpath.basename(names[0]) for names in languages.values())
    return f"its subtitles are in several languages and none in English ({listed}); keep one"
