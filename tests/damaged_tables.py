"""One damaged parquet table after the other through its reader, in a process that a crash may take with it.

`python -m tests.damaged_tables FOLDER`: a line of JSON before each table with its name, and one after it with what
came of it. `python -m tests.damaged_tables --flip FILE BIT`: a line with the number of each bit of its footer from that
one on, before Arrow is asked for the metadata of a column with the bit flipped; if the process dies, the last is fatal.
"""

import io
import json
import sys
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq

from tasks.corpora.media import open_media
from tasks.errors import ItemError, RequestError
from tests.corpus_records import read_records


def read_all(folder: Path) -> None:
    """Reports on every table of a folder."""
    for path in sorted(folder.iterdir()):
        print(json.dumps({"begins": path.name}), flush=True)
        print(json.dumps(outcome(path)), flush=True)


def outcome(path: Path) -> dict[str, object]:
    """How many rows of a table were listed, how many of their cells opened, and what was said of the others."""
    try:
        records = read_records(path, layout="parquet")
    except RequestError as error:
        return {"listed": 0, "opened": 0, "said": [str(error)]}
    problems = [record.problem for record in records.values() if record.problem]
    opened = 0
    for record in records.values():
        if record.place.row is not None:
            try:
                with open_media(record.place):
                    opened += 1
            except ItemError as error:
                problems.append(str(error))
    return {"listed": len(records), "opened": opened, "said": problems}


def flip_each_bit(path: Path, first: int) -> None:
    """Asks Arrow about tables with one flipped bit in their footers."""
    content = path.read_bytes()
    for bit in range(max(first, 8 * footer_start(content)), 8 * (len(content) - 8)):
        print(bit, flush=True)
        with suppress(Exception):  # most are no parquet any longer, and Arrow says so
            pq.ParquetFile(io.BytesIO(flipped(content, bit))).metadata.row_group(0).column(0)


def footer_start(content: bytes) -> int:
    """Where the footer of a whole table begins; eight bytes before the end it ends."""
    return len(content) - 8 - int.from_bytes(content[-8:-4], "little")


def flipped(content: bytes, *bits: int) -> bytes:
    """The bytes with some bits flipped."""
    damaged = bytearray(content)
    for bit in bits:
        damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


if __name__ == "__main__":
    if sys.argv[1] == "--flip":
        flip_each_bit(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        read_all(Path(sys.argv[1]))
