"""What listing a corpus costs does not depend on what somebody has put into its tables, tars and lists."""

import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).resolve().parents[1]
HUGE_BYTES = 2**30  # sparse: no test writes so much
ALLOWED_BYTES = 400 * 2**20

# Its own process: the peak of this one is that of other tests.
PEAK = """
import json, sys
from pathlib import Path
import pyarrow.parquet
from tests.corpus_records import read_records
def peak():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024
Path("/proc/self/clear_refs").write_text("5")
before = peak()
try:
    told = [record.problem for record in read_records(Path(sys.argv[1]), sys.argv[2], sys.argv[3]).values()]
except Exception as error:
    told = f"{type(error).__name__}: {error}"
print(json.dumps({"grown": peak() - before, "told": told}))
"""


def _long_line(folder: Path) -> tuple[Path, str, str]:
    (folder / "a.mp4").touch()
    with (folder / "manifest.csv").open("wb") as file:
        file.write(b"file,caption\na.mp4,")
        file.truncate(HUGE_BYTES)
    return folder, "short-videos", "folder"


def _long_list(folder: Path) -> tuple[Path, str, str]:
    (folder / "Walk").mkdir()
    (folder / "Walk" / "a.mp4").touch()
    (folder / "ucfTrainTestlist").mkdir()
    with (folder / "ucfTrainTestlist" / "trainlist01.txt").open("wb") as file:
        file.truncate(HUGE_BYTES)
    return folder, "short-videos", "class-folders"


def _long_header(kind: bytes) -> Callable[[Path], tuple[Path, str, str]]:
    def write(folder: Path) -> tuple[Path, str, str]:
        header = tarfile.TarInfo("header")
        header.type, header.size = kind, HUGE_BYTES
        with (folder / "a.tar").open("wb") as file:
            file.write(header.tobuf(tarfile.GNU_FORMAT))
            file.seek(HUGE_BYTES, io.SEEK_CUR)
            file.write(tarfile.TarInfo("a.mp4").tobuf() + bytes(1024))
        return folder / "a.tar", "short-videos", "webdataset"

    return write


def _one_caption_for_all(folder: Path) -> tuple[Path, str, str]:
    captions = pa.DictionaryArray.from_arrays(pa.array([0] * 200, pa.int32()), pa.array(["a" * 2**24]))
    table = pa.table({"image": pa.array([b"x"] * 200), "caption": captions})
    pq.write_table(table, folder / "a.parquet", compression="zstd")
    assert (folder / "a.parquet").stat().st_size < 10_000
    return folder / "a.parquet", "images", "parquet"


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (_long_line, "line 2: is longer than"),
        (_long_list, "is longer than"),
        (_long_header(tarfile.XHDTYPE), "not a whole tar: a header of 1073741824 bytes"),
        (_long_header(tarfile.XGLTYPE), "not a whole tar: a header of 1073741824 bytes"),
        (_long_header(tarfile.GNUTYPE_LONGNAME), "not a whole tar: a header of 1073741824 bytes"),
        pytest.param(_one_caption_for_all, None, marks=pytest.mark.slow),
    ],
    ids=[
        "line",
        "list",
        "pax header",
        "pax header of all",
        "long name",
        "caption of all rows",
    ],
)
def test_a_small_file_that_stands_for_much_is_not_unfolded(tmp_path, write, told):
    path, kind, layout = write(tmp_path)
    command = [sys.executable, "-c", PEAK, str(path), kind, layout]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["grown"] < ALLOWED_BYTES
    assert told is None or told in str(found["told"])
