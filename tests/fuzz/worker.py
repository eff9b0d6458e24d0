"""Reads damaged corpora one after the other, in a process that a crash may take with it.

`python -m tests.fuzz.worker`: the path of a folder with a corpora file per line on standard input; for each a line of
JSON, first when its sources are listed, then with how it ended.
"""

from __future__ import annotations

import json
import resource
import sys
import unicodedata
from itertools import islice
from pathlib import Path
from typing import Any

import psutil

from tasks.clips.from_source import clips_of
from tasks.clips.settings import ClipSettings
from tasks.corpora.config import load_corpora
from tasks.corpora.readers import read_sources
from tasks.corpora.records import SourceRecord
from tasks.errors import ItemError, RequestError
from tests.fuzz.inputs import CORPORA

MEMORY_BYTES = 2 * 2**30
"""What a process may take beyond what it has when it begins."""
SETTINGS = ClipSettings(num_frames=4, fps=8.0, width=32, height=32, clips_per_source=2, max_shot_s=4.0)
MAX_SOURCES = 200  # of a damaged table that names more, the first are read
MAX_DECODED = 3


def main() -> None:
    """Reports on every folder that it is told."""
    limit = psutil.Process().memory_info().vms + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for line in sys.stdin:
        _report(stage="listing")
        try:
            _report(stage="ended", **_read(Path(line.rstrip("\n"))))
        except Exception as error:
            _report(stage="ended", ended="raised", wrong=[f"{type(error).__name__}: {error}"[:500]])


def _report(**what: Any) -> None:
    print(json.dumps(what), flush=True)


def _read(folder: Path) -> dict[str, Any]:
    """Returns how a corpus ended (`rows`, `quarantined` or `refused`), and what about that is wrong."""
    sources: list[SourceRecord] = []
    try:
        for corpus in load_corpora(folder / CORPORA):
            sources += islice(read_sources(corpus), MAX_SOURCES - len(sources))
    except RequestError as error:
        return {"ended": "refused", "wrong": _wrong_line(str(error))}
    wrong = [fault for source in sources for fault in _wrong_words(source)]
    _report(stage="decoding")
    clips, problems = 0, [source.problem for source in sources if source.problem]
    for source in [source for source in sources if source.problem is None][:MAX_DECODED]:
        try:
            for clip in clips_of(source, SETTINGS):
                clips += 1
                if clip.frames_nhwc.shape != (4, 32, 32, 3):
                    wrong.append(f"a clip of {clip.frames_nhwc.shape}")
        except ItemError as error:
            problems.append(str(error))
    wrong += [fault for problem in problems for fault in _wrong_line(problem)]
    return {"ended": "rows" if clips else "quarantined", "wrong": wrong}


def _wrong_line(said: str) -> list[str]:
    return [] if said.strip() and len(said.splitlines()) == 1 else [f"not one line: {said!r}"[:500]]


def _wrong_words(source: SourceRecord) -> list[str]:
    """Control characters, half surrogate pairs and the mark of bytes that were no text."""
    characters = {c for caption in source.captions for c in caption.text}
    return [
        f"a caption holds {c!r}"
        for c in sorted(characters)
        if c == "\ufffd" or unicodedata.category(c) in ("Cc", "Cs")
    ]


if __name__ == "__main__":
    main()
