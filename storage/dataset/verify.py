"""Every row of a finished build read again, and all that must hold between the rows, the tables and the tags.

Rows stream through; what stays in memory is the ledger, as in a build, and eight bytes for each clip.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pyarrow as pa

from storage.dataset.builds import Build, finished_builds
from storage.dataset.clip_dataset import ClipDataset
from storage.dataset.columns import CAPTION, CLIP_ID, LATENTS, NUM_FRAMES, SOURCE_ID, STATES
from storage.dataset.cross_checks import CrossChecks
from storage.dataset.folder import CLIP_TABLES, TABLES, TEXTS, tables_there
from storage.dataset.removed import removed_rules
from storage.dataset.row_checks import row_complaints
from storage.dataset.schema import LATER_COLUMNS, LatentShape, table_schema, texts_schema
from storage.dataset.table_reader import ROW, TableReader, first_line
from storage.dataset.tables import read_table
from storage.dataset.tags import versions_and_tags
from storage.errors import StorageError
from storage.local.json_files import PARTIAL

CheckVideo = Callable[[bytes, int], str | None]
"""Takes a clip's mp4 and its number of frames, and says what is wrong with it."""

MAX_LISTED = 1000
_BATCH_ROWS = 256
_BATCH_VIDEOS = 16


@dataclass(frozen=True)
class Problem:
    """Something that is wrong: in which table, at which row and id where it is one row's, and what."""

    table: str
    what: str
    row: int | None = None
    id: str | None = None


@dataclass
class VerifyReport:
    """What was read, and the first thousand of `problem_count` problems."""

    dataset: str
    tag: str
    rows: dict[str, int] = field(default_factory=dict)
    videos: int = 0
    problem_count: int = 0
    problems: list[Problem] = field(default_factory=list)

    def add(self, table: str, what: str, row: int | None = None, id: str | None = None) -> None:
        """Counts a problem, and lists it while there is room."""
        self.problem_count += 1
        if len(self.problems) < MAX_LISTED:
            self.problems.append(Problem(table, what, row, id))


def verify(dataset_dir: Path, tag: str | None = None, check_video: CheckVideo | None = None) -> VerifyReport:
    """Reads a finished build, the newest by default, from end to end.

    StorageError when there is no such build; everything else that is wrong is in the report.
    """
    dataset = ClipDataset.open(dataset_dir if tag is None else f"{dataset_dir}@{tag}")
    report = VerifyReport(str(dataset_dir), dataset.tag)
    _check_files(dataset_dir, report)
    _check_tags(dataset_dir, report)
    tables = _open_all(dataset_dir, dataset.build, report)
    shape = _latent_shape(tables, report)
    if shape is None:
        return report
    checks = CrossChecks(removed_rules(dataset_dir))
    for name, table in tables.items():
        if _has_schema(name, table, shape, report):
            _check_table(name, table, shape, checks, report, check_video)
    checks.finish(tables, report.add)
    return report


def _check_table(
    name: str,
    table: TableReader,
    shape: LatentShape,
    checks: CrossChecks,
    report: VerifyReport,
    check_video: CheckVideo | None,
) -> None:
    """Checks all rows of a table that can be read, and reports those that cannot."""

    def unreadable(first: int, last: int, why: str) -> None:
        report.add(name, f"rows {first} to {last} cannot be read {why}", first)

    report.rows[name] = 0
    columns = [column for column in table.names if column != "video"]
    complain = partial(report.add, name)
    for batch in table.batches_past_damage(columns, _BATCH_ROWS, unreadable):
        first_row = batch[ROW][0].as_py()
        checks.take(name, first_row, batch, complain)
        for index, what in row_complaints(name, batch, shape):
            complain(what, first_row + index, batch[_ID[name]][index].as_py())
        if name in CLIP_TABLES:
            _check_videos(name, table, first_row, batch, report, check_video)
        report.rows[name] += batch.num_rows


_ID = {"sources": SOURCE_ID, "quarantine": SOURCE_ID, "clips": CLIP_ID, "rejected": CLIP_ID} | {
    TEXTS: CAPTION
}


def _check_files(dataset_dir: Path, report: VerifyReport) -> None:
    for path in sorted(dataset_dir.glob(f"*{PARTIAL}")):
        report.add(path.name, "half-written, by a command that was cut off")
    for removal in removed_rules(dataset_dir).removals:
        if not removal.finished:
            report.add("removed.json", f"the removal of {removal} was cut off: run it again")


def _check_tags(dataset_dir: Path, report: VerifyReport) -> None:
    builds = [build for build in finished_builds(dataset_dir) if not build.purged]
    for table in tables_there(dataset_dir):
        try:
            versions, tags = versions_and_tags(dataset_dir, table)
        except StorageError as error:
            report.add(table, str(error))
            continue
        for tag in sorted(tags.keys() - {build.tag for build in builds}):
            report.add(table, f"tag {tag} is of no finished build")
        for build in builds:
            version, tagged = build.versions.get(table), tags.get(build.tag)
            if version is not None and version not in versions:
                report.add(table, f"version {version} of {build.tag} is gone")
            elif version is not None and tagged is None:
                report.add(table, f"has no tag {build.tag}: a clean-up may delete its version {version}")
            elif tagged != version:
                report.add(table, f"tag {build.tag} names version {tagged}, the build has version {version}")


def _open_all(dataset_dir: Path, build: Build, report: VerifyReport) -> dict[str, TableReader]:
    """Gives the build's tables, the ledger first; without those that cannot be opened."""
    tables: dict[str, TableReader] = {}
    for name in ("sources", "quarantine", "clips", "rejected", TEXTS):
        if name not in build.versions:
            if name in TABLES:
                report.add(name, f"{build.tag} names no version of it")
            continue
        try:
            tables[name] = read_table(dataset_dir, name, build.versions[name])
        except StorageError as error:
            report.add(name, str(error))
    return tables


def _latent_shape(tables: dict[str, TableReader], report: VerifyReport) -> LatentShape | None:
    if "clips" not in tables:
        return None
    names = tables["clips"].names
    shape: Sequence[int] = ()
    if LATENTS in names:
        shape = getattr(tables["clips"].schema.field(LATENTS).type, "shape", ())
    if len(shape) == 4:
        frames, channels, height, width = shape
        return frames, channels, height, width
    report.add("clips", "latents is not a column of tensors (frames, channels, height, width)")
    return None


def _has_schema(name: str, table: TableReader, shape: LatentShape, report: VerifyReport) -> bool:
    expected = _expected_schema(name, table, shape)
    if expected is None:
        report.add(name, "states is not a column of tensors (tokens, width)")
        return False
    wrong = []
    for column in expected:
        if column.name not in table.names and column.name in LATER_COLUMNS:
            continue
        if column.name not in table.names:
            wrong.append(f"has no column {column.name}")
        elif (present := table.schema.field(column.name).type) != column.type:
            wrong.append(f"column {column.name} is {present}, not {column.type}")
    for what in wrong:
        report.add(name, what)
    return not wrong


def _expected_schema(name: str, table: TableReader, shape: LatentShape) -> pa.Schema | None:
    if name != TEXTS:
        return table_schema(name, shape)
    present = getattr(table.schema.field(STATES).type, "shape", ()) if STATES in table.names else ()
    return texts_schema(*present) if len(present) == 2 else None


def _check_videos(
    name: str,
    table: TableReader,
    first_row: int,
    batch: pa.Table,
    report: VerifyReport,
    check_video: CheckVideo | None,
) -> None:
    """Reads every mp4 of the batch, a few at a time."""
    ids, frames = batch[CLIP_ID].to_pylist(), batch[NUM_FRAMES].to_pylist()
    for start in range(0, len(ids), _BATCH_VIDEOS):
        here = range(start, min(start + _BATCH_VIDEOS, len(ids)))
        videos = table.videos_past_damage([first_row + index for index in here])
        for index, data in zip(here, videos, strict=True):
            what = None
            if isinstance(data, Exception):
                what = f"video cannot be read: {first_line(data)}"
            elif data is not None:
                report.videos += 1
                what = check_video(data, frames[index]) if check_video is not None else None
            if what is not None:
                report.add(name, what, first_row + index, ids[index])
