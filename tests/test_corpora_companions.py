"""What macOS, Windows and file servers leave beside media is neither source nor class nor quarantine row."""

import io
import tarfile
from pathlib import Path

import fsspec
import pytest

from tasks.corpora.companions import is_companion
from tasks.corpora.corpus import Corpus
from tasks.corpora.readers import passed_by
from tests.corpus_records import problems, read_records, write_image

COMPANIONS = (
    "._a.png",
    ".DS_Store",
    ".Trashes/501/b.png",
    "__MACOSX/a.png",
    "__MACOSX/._a.png",
    ".AppleDouble/a.png",
    "Thumbs.db",
    "THUMBS.DB",
    "desktop.ini",
    "@eaDir/a.png/SYNOPHOTO_THUMB_XL.jpg",
    "deep/@eaDir/b.png",
    "deep/._b.txt",
    "$RECYCLE.BIN/S-1-5/c.png",
    "System Volume Information/d.png",
    "#recycle/e.png",
    ".Trash-1000/files/f.png",
)
REAL = {"a.png": b"", "a.txt": b"words", "deep/b.png": b"", "deep/b.txt": b"more words"}


def _files(image: bytes) -> dict[str, bytes]:
    files = {name: image if name.endswith(".png") else content for name, content in REAL.items()}
    return files | dict.fromkeys(COMPANIONS, image)


@pytest.fixture
def image(tmp_path: Path) -> bytes:
    return write_image(tmp_path / "made/a.png").read_bytes()


def _put(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_in_folders_and_manifests(tmp_path: Path, image: bytes) -> None:
    folder = _put(tmp_path / "c", _files(image))
    assert problems(read_records(folder)) == {"a.png": None, "deep/b.png": None}
    rows = "".join(f"{name}\tjunk\n" for name in COMPANIONS)
    (folder / "manifest.tsv").write_text(f"file\tcaption\n{rows}a.png\twords\n")
    assert problems(read_records(folder)) == {"a.png": None, "deep/b.png": None}
    assert problems(read_records(folder / "manifest.tsv", layout="csv")) == {"a.png": None}


def test_copies_in_hidden_folders_are_no_sources(tmp_path: Path, image: bytes) -> None:
    copies = (".ipynb_checkpoints/a-checkpoint.png", "deep/.cache/huggingface/b.png", ".git/c.png", ".d.png")
    metadata = b'{"file_name": "a-checkpoint.png", "text": "a copy"}'
    notes = {".ipynb_checkpoints/metadata.jsonl": metadata}
    files = {name: image if name.endswith(".png") else content for name, content in REAL.items()}
    folder = _put(tmp_path / "c", files | dict.fromkeys(copies, image) | notes)
    assert problems(read_records(folder)) == {"a.png": None, "deep/b.png": None}
    table = {"name": "c", "kind": "images", "format": "folder", "path": folder, "licence": "MIT"}
    assert passed_by(Corpus.model_validate(table)) == sorted((*copies, *notes))
    (folder / "list.csv").write_text(f"file,caption\n{copies[0]},named by a table\n")
    assert problems(read_records(folder / "list.csv", layout="csv")) == {copies[0]: None}


def test_in_classes(tmp_path: Path, image: bytes) -> None:
    names = (
        "dog/1.mp4",
        "__MACOSX/dog/._1.mp4",
        "@eaDir/1.mp4",
        "dog/@eaDir/1.mp4",
        ".Trashes/2.mp4",
        "dog/._1.mp4",
        "dog/.ipynb_checkpoints/1-checkpoint.mp4",
        ".cache/1.mp4",
    )
    folder = _put(tmp_path / "c", dict.fromkeys(names, image))
    assert problems(read_records(folder, "short-videos", "class-folders")) == {"dog/1.mp4": None}


def test_in_tars_and_their_folders(tmp_path: Path, image: bytes) -> None:
    (tmp_path / "c").mkdir()
    with tarfile.open(tmp_path / "c/t.tar", "w") as tar:
        for name, content in _files(image).items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    _put(tmp_path / "c", {"._t.tar": b"x", "__MACOSX/t.tar": b"x"})
    assert problems(read_records(tmp_path / "c", layout="webdataset")) == {
        "t.tar/a.png": None,
        "t.tar/deep/b.png": None,
    }


@pytest.mark.parametrize("kind", ["s3", "memory"])
def test_in_object_stores(request: pytest.FixtureRequest, image: bytes, kind: str) -> None:
    store = request.getfixturevalue("s3") if kind == "s3" else "memory://bucket"
    fs, root = fsspec.core.url_to_fs(store)
    for name, content in _files(image).items():
        fs.pipe(f"{root}/photos/{name}", content)
    try:
        assert problems(read_records(f"{store}/photos")) == {"a.png": None, "deep/b.png": None}
    finally:
        if kind == "memory":
            fs.rm("/bucket", recursive=True)


@pytest.mark.parametrize(
    "name", ["a.png", "_a.png", "thumbs/a.png", "desktop/ini.png", "macosx/a.png", "a@eaDir.png"]
)
def test_names_that_only_look_so(name: str) -> None:
    assert not is_companion(name)
