"""Every row of a finished build read again, and all that must hold between the rows, the tables and the tags.

Rows stream through; what stays in memory is the ledger, as in a build, and eight bytes for each clip.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from storage.dataset.builds import Build, finished_builds, tables_there, versions_and_tags
from storage.dataset.clip_dataset import ClipDataset
from storage.dataset.cross_checks import CrossChecks
from storage.dataset.removed import removed_rules
from storage.dataset.row_checks import row_complaints
from storage.dataset.schema import TABLES, TEXTS, LatentShape, table_schema, texts_schema
from storage.dataset.table_reader import UNREADABLE, first_line, reading
from storage.dataset.tables import open_table
from storage.errors import StorageError
from storage.local.json_files import PARTIAL

if TYPE_CHECKING:
    import lance
    import pyarrow as pa

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
        """Count a problem, and list it while there is room."""
        self.problem_count += 1
        if len(self.problems) < MAX_LISTED:
            self.problems.append(Problem(table, what, row, id))


def verify(dataset_dir: Path, tag: str | None = None, check_video: CheckVideo | None = None) -> VerifyReport:
    """Read a finished build, the newest by default, from end to end.

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
            complain = partial(report.add, name)
            for first_row, batch in _batches(name, table, report):
                checks.take(name, first_row, batch, complain)
                for index, what in row_complaints(name, batch, shape):
                    complain(what, first_row + index, batch[_ID[name]][index].as_py())
                if name in ("clips", "rejected"):
                    _check_videos(name, table, first_row, batch, report, check_video)
    checks.finish(tables, report.add)
    return report


_ID = {"sources": "source_id", "quarantine": "source_id", "clips": "clip_id", "rejected": "clip_id"} | {
    TEXTS: "caption"
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


def _open_all(dataset_dir: Path, build: Build, report: VerifyReport) -> "dict[str, lance.LanceDataset]":
    """The build's tables, the ledger first; without those that cannot be opened."""
    tables: dict[str, lance.LanceDataset] = {}
    for name in ("sources", "quarantine", "clips", "rejected", TEXTS):
        if name not in build.versions:
            if name in TABLES:
                report.add(name, f"{build.tag} names no version of it")
            continue
        try:
            tables[name] = open_table(dataset_dir, name, build.versions[name])
        except StorageError as error:
            report.add(name, str(error))
    return tables


def _latent_shape(tables: "dict[str, lance.LanceDataset]", report: VerifyReport) -> LatentShape | None:
    if "clips" not in tables:
        return None
    names = tables["clips"].schema.names
    shape: Sequence[int] = ()
    if "latents" in names:
        shape = getattr(tables["clips"].schema.field("latents").type, "shape", ())
    if len(shape) == 4:
        frames, channels, height, width = shape
        return frames, channels, height, width
    report.add("clips", "latents is not a column of tensors (frames, channels, height, width)")
    return None


def _has_schema(name: str, table: "lance.LanceDataset", shape: LatentShape, report: VerifyReport) -> bool:
    expected = _expected_schema(name, table, shape)
    if expected is None:
        report.add(name, "states is not a column of tensors (tokens, width)")
        return False
    wrong = []
    for column in expected:
        if column.name not in table.schema.names:
            wrong.append(f"has no column {column.name}")
        elif (present := table.schema.field(column.name).type) != column.type:
            wrong.append(f"column {column.name} is {present}, not {column.type}")
    for what in wrong:
        report.add(name, what)
    return not wrong


def _expected_schema(name: str, table: "lance.LanceDataset", shape: LatentShape) -> "pa.Schema | None":
    if name != TEXTS:
        return table_schema(name, shape)
    present = (
        getattr(table.schema.field("states").type, "shape", ()) if "states" in table.schema.names else ()
    )
    return texts_schema(*present) if len(present) == 2 else None


def _batches(
    name: str, table: "lance.LanceDataset", report: VerifyReport
) -> Iterator[tuple[int, "pa.RecordBatch"]]:
    """All rows but for their videos, with the number of each batch's first; unreadable ones are reported."""
    columns = [column for column in table.schema.names if column != "video"]
    row = report.rows[name] = 0
    for fragment in table.get_fragments():
        end = row + fragment.physical_rows - fragment.num_deletions
        try:
            scan = fragment.scanner(columns=columns, batch_size=_BATCH_ROWS, batch_readahead=2)
            with reading():
                for batch in scan.to_batches():
                    batch.validate(full=True)  # or a damaged text is found out by whoever looks at it
                    yield row, batch
                    row += batch.num_rows
                    report.rows[name] += batch.num_rows
        except UNREADABLE as error:
            files = ", ".join(file.path for file in fragment.data_files())
            report.add(name, f"rows {row} to {end - 1} cannot be read ({files}): {first_line(error)}", row)
        row = end


def _check_videos(
    name: str,
    table: "lance.LanceDataset",
    first_row: int,
    batch: "pa.RecordBatch",
    report: VerifyReport,
    check_video: CheckVideo | None,
) -> None:
    """Read every mp4 of the batch; a few at a time, and one by one where these cannot be read."""
    ids, frames = batch["clip_id"].to_pylist(), batch["num_frames"].to_pylist()
    for start in range(0, len(ids), _BATCH_VIDEOS):
        here = range(start, min(start + _BATCH_VIDEOS, len(ids)))
        videos = _videos(table, [first_row + index for index in here])
        for index, data in zip(here, videos, strict=True):
            what = None
            if isinstance(data, Exception):
                what = f"video cannot be read: {first_line(data)}"
            elif data is not None:
                report.videos += 1
                what = check_video(data, frames[index]) if check_video is not None else None
            if what is not None:
                report.add(name, what, first_row + index, ids[index])


def _videos(table: "lance.LanceDataset", rows: list[int]) -> "Iterator[bytes | Exception | None]":
    try:
        with reading():
            files = table.take_blobs("video", indices=rows)
    except UNREADABLE as error:
        if len(rows) == 1:
            yield error
            return
        for row in rows:
            yield from _videos(table, [row])
        return
    for file in files:
        try:
            with reading():
                yield None if file is None else file.readall()
        except UNREADABLE as error:
            yield error
