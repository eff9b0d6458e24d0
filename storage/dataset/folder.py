"""What lies in a dataset folder: its tables, found by their names alone, without Lance."""

from pathlib import Path

from storage.errors import StorageError
from storage.local.folders import is_address

TABLES = ("clips", "rejected", "quarantine", "sources")
"""In the order a build commits them: the ledger `sources` last, so it never claims what is not there."""

CLIP_TABLES = ("clips", "rejected")
"""Those with a row for each clip: kept, or scored and not kept."""

TEXTS = "texts"
"""The table of text states, one row per distinct caption; there only where a build was told to write it."""


def table_path(dataset_dir: Path, table: str) -> Path:
    """Gives the folder of one of the dataset's tables."""
    return dataset_dir / f"{table}.lance"


def table_exists(dataset_dir: Path, table: str) -> bool:
    """Tells whether the table has ever been committed to."""
    return (table_path(dataset_dir, table) / "_versions").is_dir()


def tables_there(dataset_dir: Path) -> list[str]:
    """Gives the tables that the folder holds."""
    return [table for table in (*TABLES, TEXTS) if table_exists(dataset_dir, table)]


def check_is_dataset(folder: Path) -> None:
    """Raises StorageError when the folder holds no dataset."""
    if is_address(folder):
        raise StorageError(f"{folder}: is an address, and a dataset has to be a local folder")
    try:
        there = table_exists(folder, "clips")
    except OSError as error:
        raise StorageError(f"{folder}: cannot be read: {error.strerror}") from error
    if not there:
        raise StorageError(
            f"{folder.absolute()}: is not a dataset (no clips.lance in it); vidrd build-dataset makes one"
        )


def parse_ref(ref: str | Path) -> tuple[Path, str | None]:
    """Splits `DIR[@TAG]` into the folder and the tag."""
    folder, separator, tag = str(ref).rpartition("@")
    if not separator or "/" in tag:
        return Path(ref), None
    return Path(folder), tag


def bytes_below(folder: Path) -> int:
    """Bytes of all files in a folder and below it."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
