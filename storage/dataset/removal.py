"""Takedown: everything of some sources, licences or corpora goes, and does not come back with the next build.

First the removal is written down (`removed.json`), then the ledger forgets the sources, then their rows go as
those of no source: whatever a crash cuts off after the first step, the next writer of the dataset goes on with.
Earlier builds keep what they had unless they are purged.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from storage.dataset.builds import finished_builds
from storage.dataset.columns import CAPTION, CLIP_ID, DUPLICATE_OF, OWNER, SOURCE_ID, SOURCE_URI
from storage.dataset.compaction import clean, rewrite_deleted
from storage.dataset.folder import CLIP_TABLES, TEXTS, check_is_dataset, table_exists, tables_there
from storage.dataset.removed import Removal, now, record_removal, removed_rules
from storage.dataset.tables import commit_rows, read_table
from storage.dataset.tags import forget_builds, newest_versions
from storage.dataset.writer import DatasetWriter, writing
from storage.errors import StorageError


@dataclass
class RemovalReport:
    """What went: rows per table, the tag without them, the builds that were purged.

    `similar_sources` stay, but have clips that were found to be near-duplicates of clips that went.
    """

    dataset: str
    tag: str = ""
    sources: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    purged: list[str] = field(default_factory=list)
    similar_sources: list[str] = field(default_factory=list)


def remove(
    dataset_dir: Path,
    sources: Sequence[str] = (),
    licences: Sequence[str] = (),
    corpora: Sequence[str] = (),
    purge: bool = False,
    reason: str = "",
) -> RemovalReport:
    """Takes down these sources and those of any of these licences or corpora, and tags the dataset without them.

    A source is named by its source_id or its source_uri. With `purge` earlier builds go entirely and nothing of the
    rows is left in any file. Cut off, it is finished by running it again. StorageError, and nothing changed, when a
    value matches nothing or a uri is that of several sources.
    """
    if not (sources or licences or corpora):
        raise StorageError(f"{dataset_dir}: name the sources, licences or corpora to remove")
    with DatasetWriter.reopen(dataset_dir) as writer, writing(dataset_dir):
        # Ids alone go on record: a uri may tell what was to be forgotten, and two corpora may share it later.
        source_ids = _source_ids(dataset_dir, sources)
        removal = Removal(source_ids, tuple(licences), tuple(corpora), now(), reason, purge)
        found = _Found.search(dataset_dir, removal, purge)
        earlier = next((rule for rule in removed_rules(dataset_dir).removals if rule.asks_for(removal)), None)
        if earlier is None:
            _refuse_unknown(dataset_dir, removal, found)
        else:
            removal = replace(removal, removed_at=earlier.removed_at, reason=reason or earlier.reason)
            removal = replace(removal, purge=purge or (earlier.purge and not earlier.finished))
        record_removal(dataset_dir, removal)
        before = {table: writer.table(table).count_rows() for table in tables_there(dataset_dir)}
        writer.drop_sources(found.source_ids)
        _drop_unused_texts(dataset_dir)
        report = RemovalReport(str(dataset_dir), sources=len(found.source_ids))
        report.rows = {table: count - writer.table(table).count_rows() for table, count in before.items()}
        report.similar_sources = sorted(found.similar_sources)
        if removal.purge:
            for table in tables_there(dataset_dir):
                rewrite_deleted(dataset_dir, table)
        report.tag = writer.finish({"removed": report.rows}).tag
        if removal.purge:
            report.purged = _purge(dataset_dir)
        record_removal(dataset_dir, replace(removal, finished=True))
    return report


def would_remove(
    dataset_dir: Path,
    sources: Sequence[str] = (),
    licences: Sequence[str] = (),
    corpora: Sequence[str] = (),
    purge: bool = False,
) -> RemovalReport:
    """Tells what `remove` would take down of the dataset as it stands, and changes nothing; raises as it does."""
    check_is_dataset(dataset_dir)
    removal = Removal(_source_ids(dataset_dir, sources), tuple(licences), tuple(corpora), now(), "", purge)
    found = _Found.search(dataset_dir, removal, purge)
    _refuse_unknown(dataset_dir, removal, found)
    report = RemovalReport(str(dataset_dir), sources=len(found.source_ids))
    for table in _NAMED_BY:
        ids = read_table(dataset_dir, table).read([SOURCE_ID])[SOURCE_ID].to_pylist()
        report.rows[table] = sum(source in found.source_ids for source in ids)
    report.similar_sources = sorted(found.similar_sources)
    if purge:
        report.purged = [build.tag for build in finished_builds(dataset_dir) if not build.purged]
    return report


def _purge(dataset_dir: Path) -> list[str]:
    """Leaves nothing on disk but the newest version of every table."""
    purged = forget_builds(dataset_dir)
    for table in tables_there(dataset_dir):
        clean(dataset_dir, table, keep_days=0.0)
    return purged


def _source_ids(dataset_dir: Path, names: Sequence[str]) -> tuple[str, ...]:
    """Gives the sources that ids and uris mean, as ids; what is neither is given back as it is.

    What is no longer there may be in earlier builds: a removal that was cut off is asked for in the same words.
    """
    meant = _sources_named(dataset_dir, newest_versions(dataset_dir), set(names))
    for build in reversed(finished_builds(dataset_dir)):
        if not build.purged and (unknown := set(names) - meant.keys()):
            with suppress(StorageError):  # that a build cannot be read is no news of these sources
                meant |= _sources_named(dataset_dir, build.versions, unknown)
    for name, corpus_of in meant.items():
        if len(corpus_of) > 1:
            sources = ", ".join(f"{source_id} in {corpus}" for source_id, corpus in corpus_of.items())
            raise StorageError(
                f"{dataset_dir}: {name!r} is the uri of several sources, name one by id: {sources}"
            )
    return tuple(dict.fromkeys(next(iter(meant.get(name, {name: ""}))) for name in names))


def _sources_named(dataset_dir: Path, versions: dict[str, int], names: set[str]) -> dict[str, dict[str, str]]:
    """For each of these names that the ledger knows, the source of that id or else those of that uri, by corpus."""
    by_id: dict[str, dict[str, str]] = {}
    by_uri: dict[str, dict[str, str]] = {}
    columns = [SOURCE_ID, SOURCE_URI, "corpus"]
    ledger = read_table(dataset_dir, "sources", versions["sources"])
    for batch in ledger.batches(columns) if names else ():
        for source_id, uri, corpus in zip(*(batch[name].to_pylist() for name in columns), strict=True):
            if source_id in names:
                by_id[source_id] = {source_id: corpus}
            if uri in names:
                by_uri.setdefault(uri, {})[source_id] = corpus
    return by_uri | by_id


@dataclass
class _Found:
    """What of a dataset a removal means: the sources to drop, and which of its values were seen at all."""

    source_ids: set[str] = field(default_factory=set)
    similar_sources: set[str] = field(default_factory=set)
    values: set[tuple[str, str]] = field(default_factory=set)

    @classmethod
    def search(cls, dataset_dir: Path, removal: Removal, in_all_builds: bool) -> "_Found":
        """Looks through the newest tables; the values are also looked for in earlier builds if these are to go."""
        found = cls()
        newest = newest_versions(dataset_dir)
        found.source_ids = found._look(dataset_dir, newest, removal)
        found._find_similar(dataset_dir)
        if in_all_builds:
            for build in finished_builds(dataset_dir):
                if not build.purged and build.versions != newest:
                    with suppress(StorageError):  # a build that cannot be read any longer is to go anyway
                        found._look(dataset_dir, build.versions, removal)
        return found

    def _look(self, dataset_dir: Path, versions: dict[str, int], removal: Removal) -> set[str]:
        """Gives the sources that it names in any table: what a source left earlier may have another licence."""
        matching: set[str] = set()
        for table, columns in _NAMED_BY.items():
            for batch in read_table(dataset_dir, table, versions[table]).batches(columns):
                for row in batch.to_pylist():
                    if removal.names(row[SOURCE_ID], row.get("licence"), row["corpus"]):
                        matching.add(row[SOURCE_ID])
                        self.values.update((column, row[column]) for column in columns)
        return matching

    def _find_similar(self, dataset_dir: Path) -> None:
        """Sources that share near-duplicates with those that go, in either direction."""
        pairs: list[tuple[str, str]] = []
        for table in CLIP_TABLES:
            for batch in read_table(dataset_dir, table).batches([SOURCE_ID, DUPLICATE_OF]):
                doubles = batch.filter(batch[DUPLICATE_OF].is_valid())
                pairs += zip(doubles[SOURCE_ID].to_pylist(), doubles[DUPLICATE_OF].to_pylist(), strict=True)
        wanted = {clip_id for _, clip_id in pairs}
        source_of: dict[str, str] = {}
        for table in CLIP_TABLES if wanted else ():
            for batch in read_table(dataset_dir, table).batches([CLIP_ID, SOURCE_ID]):
                ids = zip(batch[CLIP_ID].to_pylist(), batch[SOURCE_ID].to_pylist(), strict=True)
                source_of.update((clip_id, source_id) for clip_id, source_id in ids if clip_id in wanted)
        for source_id, clip_id in pairs:
            both = {source_id, source_of.get(clip_id, source_id)}
            if both & self.source_ids:
                self.similar_sources |= both - self.source_ids


_NAMED_BY = {
    "clips": OWNER,
    "rejected": OWNER,
    "quarantine": (SOURCE_ID, "corpus"),
    "sources": OWNER,
}


def _refuse_unknown(dataset_dir: Path, removal: Removal, found: _Found) -> None:
    asked: Iterable[tuple[str, str, str]] = (
        *((SOURCE_ID, "source", value) for value in removal.source_ids),
        *(("licence", "licence", value) for value in removal.licences),
        *(("corpus", "corpus", value) for value in removal.corpora),
    )
    for column, name, value in asked:
        if (column, value) not in found.values:
            unfinished = [str(rule) for rule in removed_rules(dataset_dir).removals if not rule.finished]
            hint = f"; still to be finished: the removal of {', '.join(unfinished)}" if unfinished else ""
            raise StorageError(f"{dataset_dir}: holds nothing of {name} {value!r}; nothing was removed{hint}")


def _drop_unused_texts(dataset_dir: Path) -> None:
    """Drops the text states of captions that no clip has any longer."""
    if not table_exists(dataset_dir, TEXTS):
        return
    texts, clips, rejected = (
        read_table(dataset_dir, table).distinct(CAPTION) for table in (TEXTS, "clips", "rejected")
    )
    commit_rows(dataset_dir, TEXTS, [], texts - clips - rejected, CAPTION)
