"""Class folders: labels become captions, official lists and top folders say the split."""

from pathlib import Path

import pytest

from tasks.corpora.class_folders import label_words
from tasks.corpora.records import CaptionSpan
from tasks.errors import RequestError
from tests.corpus_records import read_records


def _write(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def test_class_folders(tmp_path: Path) -> None:
    for place in ("ApplyEyeMakeup/v_1.avi", "train/tai chi/2.mp4", "stray.avi"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(b"x")
    (tmp_path / "ucfTrainTestlist").mkdir()
    (tmp_path / "ucfTrainTestlist/classInd.txt").write_text("1 ApplyEyeMakeup\n")
    records = read_records(tmp_path, "short-videos", "class-folders", prompt_template="a video of {label}")
    captions = {uri: [caption.text for caption in record.captions] for uri, record in records.items()}
    assert captions == {
        "ApplyEyeMakeup/v_1.avi": ["a video of apply eye makeup"],
        "stray.avi": [],
        "train/tai chi/2.mp4": ["a video of tai chi"],
    }
    assert {record.caption_origin for record in records.values()} == {"label"}
    assert "no label" in str(records["stray.avi"].problem)


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("ApplyEyeMakeup", "apply eye makeup"),
        ("YoYo", "yo yo"),
        ("playing_violin", "playing violin"),
        ("TVShow", "tv show"),
        ("Pull-Ups", "pull ups"),
        ("abseiling", "abseiling"),
    ],
)
def test_label_words(label: str, words: str) -> None:
    assert label_words(label) == words


def test_every_template_is_a_candidate(tmp_path: Path) -> None:
    _write(tmp_path, "YoYo/1.avi")
    templates = ["a person doing {label}", "{label}"]
    (record,) = read_records(tmp_path, "short-videos", "class-folders", prompt_template=templates).values()
    assert record.captions == (CaptionSpan("a person doing yo yo"), CaptionSpan("yo yo"))


@pytest.mark.parametrize("place", ["UCF-101", "."])
def test_ucf_lists_in_the_corpus_or_beside_it_say_the_split(tmp_path: Path, place: str) -> None:
    names = [f"YoYo/v_YoYo_g0{n}_c01.avi" for n in range(1, 4)]
    _write(tmp_path / "UCF-101", *names)
    lists = tmp_path / place / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "classInd.txt").write_text("1 YoYo\r\n")
    for fold, (train, test) in {1: (0, 1), 2: (1, 0)}.items():
        (lists / f"trainlist0{fold}.txt").write_bytes(f"{names[train]} 1\r\n".encode())
        (lists / f"testlist0{fold}.txt").write_bytes(f"{names[test]}\r\n".encode())

    def splits(**more: int) -> list[str | None]:
        records = read_records(tmp_path / "UCF-101", "short-videos", "class-folders", **more)
        return [records[name].split for name in names]

    assert splits() == splits(split_fold=1) == ["train", "test", None]
    assert splits(split_fold=2) == ["test", "train", None]
    with pytest.raises(RequestError, match=r"split_fold: no ucfTrainTestlist/trainlist03\.txt"):
        splits(split_fold=3)


def test_kinetics_top_folders_say_the_split(tmp_path: Path) -> None:
    names = ("train/tai chi/1.mp4", "val/tai chi/2.mp4", "test/tai chi/3.mp4", "test/4.mp4", "tai chi/5.mp4")
    _write(tmp_path, *names)
    records = read_records(tmp_path, "short-videos", "class-folders")
    assert [records[name].split for name in names] == ["train", "val", "test", None, None]
    assert records["test/4.mp4"].captions == (CaptionSpan("test"),)
