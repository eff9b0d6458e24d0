"""What lies in a corpus, found by listing it and reading its words: no media is opened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from storage.local.visible import visible
from tasks.corpora.corpus import Corpus
from tasks.corpora.readers import read_sources
from tasks.corpora.records import SourceRecord
from tasks.corpora.tree import suffix_of

FIRST_PAIRS = 3
SHOWN = 8
"""Suffixes, origins and problems of which a line tells; the rest is counted."""
_CAPTION_CHARACTERS = 120


@dataclass
class Look:
    """The counts of one corpus: files by suffix, captions by origin, problems, the first pairs, what is passed by."""

    corpus: Corpus
    sources: int = 0
    suffixes: Counter[str] = field(default_factory=Counter)
    origins: Counter[str] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    first: list[tuple[str, str]] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)

    def add(self, source: SourceRecord) -> None:
        """Counts a source."""
        self.sources += 1
        self.suffixes[suffix_of(source.uri)] += 1
        if source.is_wordless_film:
            self.origins["looked for in the file itself"] += 1
            return
        if source.problem is not None:
            # What differs from file to file stands before the last colon.
            problem = source.problem.rpartition(": ")[2][:100]
            self.problems[problem] += 1
            self.examples.setdefault(problem, source.uri)
            return
        self.origins[source.caption_from or "none"] += 1
        if source.captions and len(self.first) < FIRST_PAIRS:
            self.first.append((source.uri, source.captions[0].text[:_CAPTION_CHARACTERS]))

    def as_dict(self) -> dict[str, Any]:
        """Gives the counts for machines."""
        return {
            "name": self.corpus.name,
            "kind": self.corpus.kind,
            "format": self.corpus.format,
            "path": str(self.corpus.path),
            "sources": self.sources,
            "files": dict(self.suffixes.most_common()),
            "captions": dict(self.origins.most_common()),
            "first": [{"file": uri, "caption": caption} for uri, caption in self.first],
            "problems": [
                {"problem": problem, "sources": count, "first": self.examples[problem]}
                for problem, count in self.problems.most_common()
            ],
            "ignored": dict(self.ignored.most_common()),
        }

    def as_lines(self) -> list[str]:
        """Gives the counts as lines for people, the first with the corpus's name."""
        lines = [f"{self.corpus.name}: {self.sources} {self.corpus.kind} ({_told(self.suffixes)})"]
        lines.append(f"  captions: {_told(self.origins)}" if self.origins else "  captions: none")
        lines += [f"  {uri}: {caption!r}" for uri, caption in self.first]
        for problem, count in self.problems.most_common(SHOWN):
            lines.append(f"  {count} will be quarantined: {problem} (first: {self.examples[problem]})")
        if len(self.problems) > SHOWN:
            rest = self.problems.total() - sum(count for _, count in self.problems.most_common(SHOWN))
            lines.append(f"  {rest} will be quarantined for {len(self.problems) - SHOWN} other reasons")
        if self.ignored:
            lines.append(f"  passed by: {_told(self.ignored)}")
        return [visible(line) for line in lines]


def look_at(corpora: Sequence[Corpus], captions_needed: bool = True) -> list[Look]:
    """Goes through all of some corpora; RequestError when one cannot be read."""
    looks = []
    for corpus in corpora:
        look = Look(corpus)
        for source in read_sources(corpus, captions_needed, look.ignored):
            look.add(source)
        looks.append(look)
    return looks


def _told(counts: Counter[str]) -> str:
    told = [f"{count} {name}" for name, count in islice(counts.most_common(), SHOWN)]
    rest = counts.total() - sum(count for _, count in counts.most_common(SHOWN))
    return ", ".join(told + ([f"{rest} others"] if rest else []))
