"""Fewer and fuller files: small fragments joined, rows that were deleted rewritten away, old versions cleaned.

A build commits small groups, each a fragment of its own, and reading slows down with their number. What is
compacted is a new version with the same rows, so it ends with a tag of its own; versions that a tag names
stay readable, and on disk, until their builds are forgotten.

Rows that are joined stay in order, but a rewritten fragment comes after those that were left alone: a row's
number belongs to the version it was read from.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import lance

from storage.dataset.builds import finished_builds
from storage.dataset.folder import bytes_below, check_is_dataset, table_path, tables_there
from storage.dataset.tables import open_table
from storage.dataset.tags import forget_builds, newest_versions, set_missing_tags
from storage.dataset.writer import DatasetWriter, writing

ROWS_PER_FRAGMENT = 8192
"""A fragment of this many rows is not touched again, so a growing dataset is not rewritten over and over."""
_BATCH_ROWS = 64  # with their mp4s in memory at once


@dataclass
class CompactionReport:
    """Per table the fragments and bytes before and after; the tag that names the result, if a build does."""

    dataset: str
    tag: str | None = None
    fragments_before: dict[str, int] = field(default_factory=dict)
    fragments: dict[str, int] = field(default_factory=dict)
    bytes_before: dict[str, int] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)
    forgotten: list[str] = field(default_factory=list)


def compact(dataset_dir: Path, keep_days: float = 7.0, newest_only: bool = False) -> CompactionReport:
    """Joins small fragments, tags the result, and cleans the versions older than `keep_days` that no tag names.

    `newest_only` forgets all earlier builds and cleans every version but the newest. A dataset whose last
    build was cut off is compacted too, but gets its tag from the build that goes on. Needs room on disk for
    a second copy of what is joined. StorageError when the folder is no dataset or is being written to.
    """
    report = CompactionReport(str(dataset_dir))
    with DatasetWriter.reopen(dataset_dir) as writer, writing(dataset_dir):
        tables = tables_there(dataset_dir)
        report.fragments_before, report.bytes_before = _sizes(dataset_dir, tables)
        is_finished = _nothing_but_compacted(dataset_dir)
        for table in tables:
            join_small(dataset_dir, table)
        if is_finished:
            counts = {"before": report.fragments_before, "after": _sizes(dataset_dir, tables)[0]}
            report.tag = writer.finish({"compacted_fragments": counts}).tag
        set_missing_tags(dataset_dir)  # or the clean-up would take versions that a finished build names
        if newest_only:
            report.forgotten = forget_builds(dataset_dir)
        for table in tables:
            clean(dataset_dir, table, 0.0 if newest_only else keep_days)
        report.fragments, report.bytes = _sizes(dataset_dir, tables)
    return report


def would_compact(dataset_dir: Path, newest_only: bool = False) -> CompactionReport:
    """Tells what there is to join, and which builds would be forgotten, and changes nothing."""
    check_is_dataset(dataset_dir)
    report = CompactionReport(str(dataset_dir))
    report.fragments_before, report.bytes_before = _sizes(dataset_dir, tables_there(dataset_dir))
    if newest_only:
        report.forgotten = [build.tag for build in finished_builds(dataset_dir)[:-1] if not build.purged]
    return report


def join_small(dataset_dir: Path, table: str) -> None:
    """Joins neighbouring small fragments, and rewrites those of which a tenth is deleted."""
    dataset = open_table(dataset_dir, table)
    # One thread: with more, whichever is done first decides the order of the new fragments.
    dataset.optimize.compact_files(
        target_rows_per_fragment=ROWS_PER_FRAGMENT, batch_size=_BATCH_ROWS, num_threads=1
    )


def rewrite_deleted(dataset_dir: Path, table: str) -> None:
    """Rewrites every fragment with a deleted row in it, which until then still lies in the file; no other."""
    dataset = open_table(dataset_dir, table)
    whole = [part.fragment_id for part in dataset.get_fragments() if not part.num_deletions]
    dataset.optimize.compact_files(
        target_rows_per_fragment=ROWS_PER_FRAGMENT,
        materialize_deletions_threshold=0.0,
        excluded_fragment_ids=whole,
        batch_size=_BATCH_ROWS,
        num_threads=1,
    )


def clean(dataset_dir: Path, table: str, keep_days: float) -> None:
    """Deletes the versions older than this that no tag names, and files that no version ever named.

    Only for who holds the dataset's lock: another writer's uncommitted files would go too.
    """
    dataset = open_table(dataset_dir, table)
    if keep_days > 0:
        dataset.cleanup_old_versions(
            timedelta(days=keep_days), delete_unverified=True, error_if_tagged_old_versions=False
        )
    else:
        # No age of zero: pylance takes that for none given.
        dataset.cleanup_old_versions(
            retain_versions=1, delete_unverified=True, error_if_tagged_old_versions=False
        )


def _nothing_but_compacted(dataset_dir: Path) -> bool:
    """Whether the tables hold what the last build left, in whatever fragments: a compaction may be cut off too."""
    builds = finished_builds(dataset_dir)
    if not builds:
        return False
    newest = newest_versions(dataset_dir)
    return newest.keys() == builds[-1].versions.keys() and all(
        _is_compaction(open_table(dataset_dir, table), version)
        for table, last in newest.items()
        for version in range(builds[-1].versions[table] + 1, last + 1)
    )


def _is_compaction(dataset: lance.LanceDataset, version: int) -> bool:
    transaction = dataset.read_transaction(version)
    if transaction is None:
        return False
    # Before it rewrites, a compaction reserves the new fragments' ids: a transaction that pylance has no class for.
    operation = transaction.operation
    reserves = type(operation) is lance.LanceOperation.BaseOperation
    return reserves or isinstance(operation, lance.LanceOperation.Rewrite)


def _sizes(dataset_dir: Path, tables: list[str]) -> tuple[dict[str, int], dict[str, int]]:
    fragments = {table: len(open_table(dataset_dir, table).get_fragments()) for table in tables}
    return fragments, {table: bytes_below(table_path(dataset_dir, table)) for table in tables}
