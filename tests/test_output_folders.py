"""Where something is to be written and cannot be: every command says so in one line, first, and leaves nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest

from flows.ablate import request as ablate
from flows.build_dataset import request as build_dataset
from flows.cli import weights as cli
from flows.dataset import report as dataset_report
from flows.generate import request as generate
from flows.retrain.request import RetrainParams, read_request
from storage.dataset.clip_dataset import ClipDataset
from storage.dataset.writer import DatasetWriter
from storage.errors import StorageError
from storage.local.folders import is_address, why_unusable
from tasks.errors import RequestError
from tasks.output_folders import check_dataset_folder
from tests.dataset_rows import clip_row, commit, source_row


@pytest.fixture
def place(tmp_path: Path, tmp_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where one stands, with what may be in the way."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "nowhere").symlink_to(tmp_path / "not-there")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    return tmp_path


# No permission can be taken from root, so what cannot be written is a file system that takes no files.
IMPOSSIBLE = {
    "s3://bucket/data": "is an address",
    "gs://bucket": "is an address",
    "file:///tmp/data": "is an address",
    "file": "is a file, not a folder",
    "file/below": "is a file, not a folder",
    "/dev/null/data": "is a file, not a folder",
    "/proc/data": "cannot be written",
    "n" * 300: "cannot be written: File name too long",
    "/".join(["deep"] * 1100): "cannot be written: File name too long",
    "a\0b": "is no path",
    "nowhere": "is a link to nothing",
    "loop/data": "cannot be written",
}

WRITERS: dict[str, Callable[[Path], object]] = {
    "build-dataset": lambda path: build_dataset.read_request(build_dataset.BuildDatasetParams(dataset=path)),
    "generate": lambda path: generate.read_request(generate.GenerateParams(prompt="x", out=path / "x.mp4")),
    "ablate": lambda path: ablate.read_request(ablate.AblateParams(out=path)),
    "dataset report": lambda path: dataset_report.report("none", path / "report.html"),
    "weights import": lambda path: cli.weights_import(Path("unet"), Path("base"), path / "out"),
}
READERS: dict[str, Callable[[Path], object]] = {
    "dataset info": ClipDataset.open,
    "dataset remove": DatasetWriter.reopen,
    "retrain": lambda path: read_request(RetrainParams(dataset=str(path))),
}


@pytest.mark.parametrize("command", WRITERS)
def test_impossible_folders_are_refused_before_anything_else(command, place):
    before = sorted(place.rglob("*"))
    for path, problem in IMPOSSIBLE.items():
        with pytest.raises(RequestError) as refused:
            WRITERS[command](Path(path))
        line = str(refused.value)
        assert line.startswith(("out: ", "dataset: ")) and problem in line and "\n" not in line, line
    assert sorted(place.rglob("*")) == before, "nothing was made, no folder s3: either"


@pytest.mark.parametrize("command", READERS)
def test_what_can_be_no_dataset_is_one_line_where_one_is_read(command, place):
    for path in IMPOSSIBLE:
        with pytest.raises(StorageError) as refused:
            READERS[command](Path(path))
        assert "\n" not in str(refused.value)
        assert ("is an address" in str(refused.value)) == is_address(path)


def test_the_videos_of_a_prompts_file_have_a_folder_too(place):
    (place / "prompts.txt").write_text("a red circle\na blue square\n")
    params = generate.GenerateParams(prompts_file=place / "prompts.txt", out_dir=Path("s3://bucket/videos"))
    with pytest.raises(RequestError, match=r"^out_dir: s3:/bucket/videos: is an address"):
        generate.read_request(params)
    with pytest.raises(RequestError, match=r"^out: .*File name too long"):
        generate.read_request(generate.GenerateParams(prompt="x", out=place / ("n" * 300 + ".mp4")))


def test_what_can_be_written_is_left_as_it_was(place):
    for path in ("new", "new/deeper/still", ".", "ordinary"):
        (place / "ordinary").mkdir(exist_ok=True)
        assert why_unusable(place / path) is None
    assert sorted(path.name for path in place.iterdir()) == ["file", "loop", "nowhere", "ordinary"]


@pytest.mark.parametrize("media", ["cat.JPG", "deep/er/film.mp4", "shards/0.tar", "table.parquet"])
def test_a_folder_of_media_is_not_filled_with_tables(media, place):
    (place / "photos" / media).parent.mkdir(parents=True)
    (place / "photos" / media).write_bytes(b"not looked into")
    before = sorted(place.rglob("*"))
    with pytest.raises(
        RequestError, match=rf"^dataset: photos: holds media \({media}\) and no dataset; name"
    ):
        WRITERS["build-dataset"](Path("photos"))
    assert sorted(place.rglob("*")) == before


def test_a_corpora_file_beside_the_tables_or_media_beside_a_dataset_are_nobodys_mistake(place):
    (place / "data").mkdir()
    (place / "data" / "corpora.toml").write_text("")
    check_dataset_folder(place / "data")
    commit(place / "data", [clip_row("a")], sources=[source_row("a")])
    (place / "data" / "preview.png").touch()
    check_dataset_folder(place / "data")
