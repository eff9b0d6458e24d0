"""What was taken down: `removed.json` beside the tables, which every writer of the dataset obeys.

A source that it names by id, licence or corpus is dropped from the tables by the next writer that opens them,
and a build passes it over, although the corpora may still hold it. Whoever deletes an entry lets it back in.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from storage.errors import StorageError
from storage.local.json_files import read_json, write_json

REMOVED = "removed.json"


@dataclass(frozen=True)
class Removal:
    """One takedown: the sources of any of these ids, licences or corpora; when and why.

    `purge` says that earlier builds were to go as well, `finished` that nothing of it is left to do.
    """

    source_ids: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()
    corpora: tuple[str, ...] = ()
    removed_at: str = ""
    reason: str = ""
    purge: bool = False
    finished: bool = False

    def __str__(self) -> str:
        names = {"source": self.source_ids, "licence": self.licences, "corpus": self.corpora}
        return ", ".join(f"{name} {value!r}" for name, values in names.items() for value in values)

    def names(self, source_id: str, licence: str | None, corpus: str) -> bool:
        """Tells whether it takes this source down."""
        return source_id in self.source_ids or licence in self.licences or corpus in self.corpora

    def asks_for(self, other: "Removal") -> bool:
        """Tells whether both name the same."""
        return (self.source_ids, self.licences, self.corpora) == (
            other.source_ids,
            other.licences,
            other.corpora,
        )


class RemovedRules:
    """All takedowns of a dataset, oldest first, quick to ask for one source after the other."""

    def __init__(self, removals: Sequence[Removal]) -> None:
        self.removals = tuple(removals)
        self._source_ids = {value for removal in removals for value in removal.source_ids}
        self._licences = {value for removal in removals for value in removal.licences}
        self._corpora = {value for removal in removals for value in removal.corpora}

    def __bool__(self) -> bool:
        return bool(self.removals)

    def is_removed(self, source_id: str, licence: str | None, corpus: str) -> bool:
        """Tells whether a source was taken down; the licence is not known of every row."""
        return source_id in self._source_ids or licence in self._licences or corpus in self._corpora


def removed_rules(dataset_dir: Path) -> RemovedRules:
    """Gives the takedowns of a dataset; StorageError when their file cannot be read."""
    path = dataset_dir / REMOVED
    content = read_json(path)
    if content is None:
        return RemovedRules(())
    try:
        return RemovedRules([_removal(entry) for entry in content["removed"]])
    except (KeyError, TypeError) as error:
        raise StorageError(f"{path}: is not a list of removals: {error}") from error


def record_removal(dataset_dir: Path, removal: Removal) -> None:
    """Puts a takedown on record, in the place of one that names the same."""
    others = [other for other in removed_rules(dataset_dir).removals if not other.asks_for(removal)]
    write_json(dataset_dir / REMOVED, {"removed": [asdict(entry) for entry in [*others, removal]]})


def now() -> str:
    """Gives the time as it is written beside what was done."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _removal(entry: dict) -> Removal:
    lists = {name: tuple(entry[name]) for name in ("source_ids", "licences", "corpora")}
    return Removal(**(entry | lists))
