"""What verify can mend: the work of a command that was cut off, and tags that do not say what the index says.

Nothing that the ledger knows is dropped, and no row is made up: what is wrong with a row itself stays.
"""

from pathlib import Path

from storage.dataset.builds import INDEX, finished_builds, read_index
from storage.dataset.tags import drop_unnamed_tags, newest_versions, set_missing_tags, versions_and_tags
from storage.dataset.writer import DatasetWriter, writing
from storage.errors import StorageError
from storage.local.json_files import PARTIAL


def repair(dataset_dir: Path) -> list[str]:
    """Mends a dataset and says what was done, a line each; nothing when all was well.

    What was wrong in a finished build is mended in a new one, since no finished build ever changes.
    StorageError when the folder is no dataset or is being written to.
    """
    with DatasetWriter.reopen(dataset_dir) as writer, writing(dataset_dir):
        done = _finish_partial_files(dataset_dir)
        if _was_cut_off_while_tagging(dataset_dir):
            done.append(f"{writer.finish({'repaired': ['its index entry']}).tag}: finished, it was all there")
        is_finished = writer.was_finished or writer.is_finished()
        writer.repair()
        done += writer.repaired
        if is_finished and writer.repaired:
            done.append(
                f"{writer.finish({'repaired': writer.repaired}).tag}: a new build, without those rows"
            )
        done += set_missing_tags(dataset_dir)
        done += drop_unnamed_tags(dataset_dir)
    return done


def _finish_partial_files(dataset_dir: Path) -> list[str]:
    """An index that was whole but for its name is taken; everything else half-written goes."""
    done = []
    partial = (dataset_dir / INDEX).with_suffix(PARTIAL)
    if partial.exists() and _continues_index(dataset_dir, partial):
        partial.replace(dataset_dir / INDEX)
        done.append(f"{INDEX}: what was cut off before its last step was done")
    for path in sorted(dataset_dir.glob(f"*{PARTIAL}")):
        path.unlink()
        done.append(f"{path.name}: half-written, deleted")
    return done


def _continues_index(dataset_dir: Path, partial: Path) -> bool:
    try:
        builds = read_index(partial)
    except StorageError:
        return False
    return (
        bool(builds)
        and builds[:-1] == finished_builds(dataset_dir)
        and builds[-1].versions == newest_versions(dataset_dir)
    )


def _was_cut_off_while_tagging(dataset_dir: Path) -> bool:
    """Tells whether a build came as far as its tags: then every table is at the version that it ended with."""
    versions = newest_versions(dataset_dir)
    tag = f"build-{len(finished_builds(dataset_dir)) + 1:04d}"
    tagged = {table: versions_and_tags(dataset_dir, table)[1].get(tag) for table in versions}
    return any(tagged.values()) and all(tagged[table] in (None, versions[table]) for table in versions)
