"""Hugging Face's layout of folders: `metadata.*` with `file_name` in them and below, splits as folders."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.errors import RequestError
from tests.corpus_records import problems, read_records, write_image

FIELD = Path(__file__).parents[1].parent / "shared/media/field/hf-folders"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("train/0.png", "train/deep/1.png", "validation/2.png", "test/3.png", "train.png"):
        write_image(tmp_path / name)
    return tmp_path


def _words(folder: Path, **more: str) -> dict[str, tuple]:
    return {
        uri: (*(caption.text for caption in record.captions), record.split)
        for uri, record in read_records(folder, **more).items()
        if record.problem is None
    }


WHOLE = {
    "train/0.png": ("a red circle", "train"),
    "train/deep/1.png": ("a blue circle", "train"),
    "validation/2.png": ("a square, turning", "val"),
    "test/3.png": ("a star", "test"),
}


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("column", ["text", "caption", "what is seen"])
@pytest.mark.parametrize("name", ["file_name", "image_file_name"])
def test_metadata_at_the_root(folder: Path, kind: str, column: str, name: str) -> None:
    table = pa.table(
        {
            name: list(WHOLE),
            "views": [1, 2, 3, 4],
            column: [words for words, _ in WHOLE.values()],
            "tag": ["x"] * 4,
        }
    )
    if kind == "parquet":
        pq.write_table(table, folder / "metadata.parquet")
    elif kind == "csv":
        table.to_pandas().to_csv(folder / "metadata.csv", index=False)
    else:
        table.to_pandas().to_json(folder / "metadata.jsonl", orient="records", lines=True)
    assert _words(folder) == WHOLE
    assert str(read_records(folder)["train.png"].problem).startswith("no caption")


def test_metadata_in_the_folders_of_splits(folder: Path) -> None:
    (folder / "train/metadata.jsonl").write_text(
        '{"file_name": "0.png", "text": "a red circle"}\n{"file_name": "deep/1.png", "text": "a blue circle"}\n'
    )
    (folder / "validation/metadata.csv").write_text(
        'file_name,text\n2.png,"a square, turning"\ngone.png,x y\n'
    )
    (folder / "test/metadata.jsonl").write_text('{"file_name": "3.png", "text": "a star"}\n')
    assert _words(folder) == WHOLE
    assert problems(read_records(folder))["validation/gone.png"] == "no such file"


@pytest.mark.parametrize(
    "table",
    [
        "image,prompt\ntrain/0.png,red\ntrain/deep/1.png,blue\n",
        "path,text\ntrain/0.png,red\ntrain/deep/1.png,blue\n",
        "id,filename,caption\n1,train/0.png,red\n2,train/deep/1.png,blue\n",
    ],
)
def test_metadata_as_trainers_have_them(folder: Path, table: str) -> None:
    (folder / "metadata.csv").write_text(table)
    (folder / "train/deep/1.txt").write_text("its own words")
    assert _words(folder) == {"train/0.png": ("red", "train"), "train/deep/1.png": ("its own words", None)}


def test_what_counted_before_counts_still(folder: Path) -> None:
    (folder / "metadata.jsonl").write_text('{"file_name": "train/0.png", "text": "new"}\n')
    (folder / "train/0.txt").write_text("a text beside it")
    assert _words(folder) == {"train/0.png": ("a text beside it", None)}
    (folder / "manifest.csv").write_text("file,caption\ntrain/0.png,of the manifest\n")
    assert _words(folder) == {"train/0.png": ("of the manifest", None)}


def test_several_columns_of_files_are_the_users_choice(folder: Path) -> None:
    (folder / "metadata.jsonl").write_text(
        '{"input_file_name": "train/0.png", "output_file_name": "test/3.png", "prompt": "make it a star"}\n'
    )
    with pytest.raises(
        RequestError, match="files in input_file_name, output_file_name; file_column says which"
    ):
        read_records(folder)
    assert _words(folder, file_column="output_file_name") == {"test/3.png": ("make it a star", "test")}


def test_tables_of_that_name_which_are_something_else(folder: Path) -> None:
    (folder / "metadata.csv").write_text("camera,lens\nx,y\n")
    (folder / "train/metadata.jsonl").write_text(
        '{"file_name": "0.png", "a": "two words", "b": "and two more"}\n'
    )
    assert _words(folder) == {}
    assert _words(folder, caption_column="b") == {"train/0.png": ("and two more", "train")}


def test_a_folder_of_images_and_videos_has_one_table_for_both(folder: Path) -> None:
    (folder / "train/film.mp4").touch()
    (folder / "metadata.jsonl").write_text(
        '{"file_name": "train/0.png", "text": "a photo"}\n{"file_name": "train/film.mp4", "text": "a film"}\n'
    )
    assert _words(folder) == {"train/0.png": ("a photo", "train")}
    records = read_records(folder, "short-videos")
    assert [(uri, record.captions[0].text) for uri, record in records.items()] == [
        ("train/film.mp4", "a film")
    ]


def test_a_link_out_of_the_corpus_is_refused(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    secret = tmp_path_factory.mktemp("far") / "metadata.jsonl"
    secret.write_text('{"file_name": "train/0.png", "text": "x y"}\n')
    (folder / "metadata.jsonl").symlink_to(secret)
    with pytest.raises(RequestError, match="lies outside its corpus"):
        read_records(folder)


@pytest.mark.parametrize("name", ["hf1", "hf3", "hf4"])
def test_the_field_folder(name: str) -> None:
    if not FIELD.exists():
        pytest.skip("../shared/media/field is not here")
    assert [words[0] for words in _words(FIELD / name).values()] == ["a red circle", "a blue circle"]
