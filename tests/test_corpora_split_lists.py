"""UCF-101's lists as people keep them: blank lines, a byte order mark, one without the other, far too long."""

from pathlib import Path

import pytest

from tasks.errors import RequestError
from tests.corpus_records import read_records

NAMES = ["YoYo/one.avi", "YoYo/two.avi", "YoYo/three.avi"]
LIMIT_BYTES = 16 * 2**20


def splits(folder: Path, **lists: bytes) -> dict[str, str | None]:
    """The split of each video of a folder beside these lists."""
    for name in NAMES:
        (folder / "UCF-101" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "UCF-101" / name).touch()
    (folder / "ucfTrainTestlist").mkdir()
    for name, content in lists.items():
        (folder / "ucfTrainTestlist" / f"{name}01.txt").write_bytes(content)
    records = read_records(folder / "UCF-101", "short-videos", "class-folders")
    return {name.removeprefix("YoYo/").removesuffix(".avi"): records[name].split for name in NAMES}


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n \t\n\n"], ids=["unix", "windows", "blank lines"])
def test_lines_end_in_any_way_and_may_be_blank(tmp_path: Path, end: bytes) -> None:
    train = end.join([b"\xef\xbb\xbfYoYo/one.avi 1", b"YoYo/three.avi 1", b""])
    found = splits(tmp_path, trainlist=train, testlist=end + b"YoYo/two.avi" + end)
    assert found == {"one": "train", "two": "test", "three": "train"}


def test_one_list_alone_says_what_it_says(tmp_path: Path) -> None:
    assert splits(tmp_path, testlist=b"YoYo/two.avi\n") == {"one": None, "two": "test", "three": None}


@pytest.mark.parametrize("more", [0, 1])
def test_a_list_is_read_up_to_its_limit(tmp_path: Path, more: int) -> None:
    line = b"YoYo/two.avi "
    long = line + b"x" * (LIMIT_BYTES + more - len(line))
    if more:
        with pytest.raises(RequestError, match=r"testlist01\.txt: is longer than 16 MB"):
            splits(tmp_path, testlist=long)
    else:
        assert splits(tmp_path, testlist=long)["two"] == "test"
