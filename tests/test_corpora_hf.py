"""Datasets of Hugging Face: saved ones, folders of them, and those of a hub, which here is a server on the loopback."""

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.clips.images import read_image
from tasks.corpora.config import load_corpora
from tasks.corpora.media import content_digest, open_media
from tasks.corpora.records import MediaPlace
from tasks.errors import ItemError, RequestError
from tests.corpus_records import problems, read_records, write_image
from tests.hub_server import hub

datasets = pytest.importorskip("datasets")
ROOT = Path(__file__).resolve().parents[1]


def _words(records: dict) -> dict[str, tuple]:
    assert not any(problems(records).values()), problems(records)
    return {
        uri: (*(caption.text for caption in record.captions), record.split) for uri, record in records.items()
    }


def _shade(place: MediaPlace) -> int:
    with open_media(place) as media:
        return int(np.asarray(read_image(media).picture)[0, 0, 0])


def _dataset(folder: Path, shades: list[int], words: str = "text") -> Any:
    paths = [str(write_image(folder / f"made/{shade}.png", shade)) for shade in shades]
    columns = {"image": paths, words: [f"shade {shade}" for shade in shades], "year": [2000] * len(shades)}
    return datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())


def test_what_the_library_has_saved(tmp_path: Path) -> None:
    parts = {"train": _dataset(tmp_path, [1, 2, 3, 4, 5]), "validation": _dataset(tmp_path, [6, 7])}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "d", num_shards={"train": 2, "validation": 1})
    records = read_records(tmp_path / "d", layout="hf")
    names = [f"train/data-00000-of-00002.arrow#{row}" for row in range(3)]
    names += [f"train/data-00001-of-00002.arrow#{row}" for row in range(2)]
    names += [f"validation/data-00000-of-00001.arrow#{row}" for row in range(2)]
    splits = ["train"] * 5 + ["val"] * 2
    told = {
        name: (f"shade {number}", split)
        for number, (name, split) in enumerate(zip(names, splits, strict=True), 1)
    }
    assert _words(records) == told
    for number in (7, 1, 5, 3):
        assert _shade(records[names[number - 1]].place) == number
    parts["train"].save_to_disk(tmp_path / "one")
    assert len(_words(read_records(tmp_path / "one", layout="hf"))) == 5


def test_captions_by_name_by_guess_and_by_choice(tmp_path: Path) -> None:
    _dataset(tmp_path, [1], "what is seen").save_to_disk(tmp_path / "d")
    assert list(_words(read_records(tmp_path / "d", layout="hf")).values()) == [("shade 1", None)]
    table = _dataset(tmp_path, [1], "a").add_column("b", ["of b"])
    table.save_to_disk(tmp_path / "e")
    with pytest.raises(RequestError, match=r"has no column 'caption' or 'text' \(found: image, a, year, b\)"):
        read_records(tmp_path / "e", layout="hf")
    records = read_records(tmp_path / "e", layout="hf", caption_column="b", licence_column="a")
    assert [(record.captions[0].text, record.licence) for record in records.values()] == [("of b", "shade 1")]


def test_saved_folders_that_are_damaged_or_reach_outside(tmp_path: Path) -> None:
    _dataset(tmp_path, [1, 2]).save_to_disk(tmp_path / "d")
    _dataset(tmp_path, [3]).save_to_disk(tmp_path / "far")
    file = tmp_path / "d/data-00000-of-00001.arrow"
    place = next(iter(read_records(tmp_path / "d", layout="hf").values())).place
    state = json.loads((tmp_path / "d/state.json").read_text())
    outside = "../far/data-00000-of-00001.arrow"
    (tmp_path / "d/state.json").write_text(json.dumps(state | {"_data_files": [{"filename": outside}]}))
    assert problems(read_records(tmp_path / "d", layout="hf")) == {outside: "lies outside its corpus"}
    (tmp_path / "d/state.json").write_text(json.dumps(state))
    content = file.read_bytes()
    file.write_bytes(content[:100])
    (record,) = read_records(tmp_path / "d", layout="hf").values()
    assert "cannot be read as Arrow" in str(record.problem)
    with pytest.raises(ItemError, match="row 0: cannot be read"):
        content_digest(place)
    (tmp_path / "d/state.json").write_text("{")
    with pytest.raises(RequestError, match=r"state\.json: cannot be read"):
        read_records(tmp_path / "d", layout="hf")


# In a process of its own, which a careless reader of Arrow files would end.
FLIP = """
import json, sys
from pathlib import Path
import numpy as np
import pyarrow as pa
from tasks.corpora.media import content_digest
from tasks.errors import ItemError
from tests.corpus_records import read_records
folder = Path(sys.argv[1])
whole, ends = (folder / "data.arrow").read_bytes(), []
for seed in range(150):
    rng, damaged = np.random.default_rng(seed), bytearray(whole)
    for bit in rng.integers(0, 8 * len(damaged), 1 + seed % 4).tolist():
        damaged[bit // 8] ^= 1 << bit % 8
    (folder / "data.arrow").write_bytes(damaged)
    try:
        for record in list(read_records(folder, layout="hf", captions_needed=False, bytes_column="image").values())[:4]:
            ends.append(record.problem or content_digest(record.place))
    except Exception as error:
        ends.append(f"{type(error).__name__}: {error}")
print(json.dumps(ends))
"""


def test_flipped_bits_of_a_saved_dataset_harm_nothing_but_their_rows(tmp_path: Path) -> None:
    columns = {
        "image": [{"bytes": bytes([row]) * 200} for row in range(60)],
        "text": [f"row {row}" for row in range(60)],
    }
    table = pa.table(columns)
    with (
        pa.OSFile(str(tmp_path / "data.arrow"), "wb") as file,
        pa.ipc.new_stream(file, table.schema) as writer,
    ):
        writer.write_table(table, max_chunksize=20)
    (tmp_path / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))
    command = [sys.executable, "-c", FLIP, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:500]
    ends = json.loads(done.stdout)
    assert len(ends) > 300 and any("cannot be read as Arrow" in end for end in ends)
    assert all(end.startswith(("ItemError", "RequestError")) for end in ends if "Error: " in end)


def _repositories(folder: Path) -> None:
    """Repositories in the layouts that the hub knows: bytes in parquet, pictures with metadata, tables of paths."""
    for split, shades in (("train", [1, 2]), ("test", [3])):
        cells = [
            {"bytes": write_image(folder / "made/x.png", shade).read_bytes(), "path": "x.png"}
            for shade in shades
        ]
        table = pa.table({"image": cells, "text": [f"shade {shade}" for shade in shades]})
        (folder / "org/parquet/data").mkdir(parents=True, exist_ok=True)
        pq.write_table(table, folder / f"org/parquet/data/{split}-00000-of-00001.parquet", row_group_size=1)
        for shade in shades:
            write_image(folder / f"org/pictures/{split}/{shade}.png", shade)
        rows = [{"file_name": f"{shade}.png", "text": f"shade {shade}"} for shade in shades]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"org/pictures/{split}/metadata.jsonl").write_text(lines)
        (folder / "org/shards").mkdir(exist_ok=True)
        with tarfile.open(folder / f"org/shards/{split}-00000.tar", "w") as tar:
            for shade in shades:
                for name, content in (
                    (f"{shade}.png", cells[shades.index(shade)]["bytes"]),
                    (f"{shade}.txt", b"shade %d" % shade),
                ):
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
        for shade in shades:
            write_image(folder / f"org/table/{shade}.png", shade)
        rows = [{"image": f"{shade}.png", "caption": f"shade {shade}"} for shade in shades]
        (folder / f"org/table/{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


RIGHT = {
    "parquet": {
        "data/train-00000-of-00001.parquet#0": ("shade 1", "train"),
        "data/train-00000-of-00001.parquet#1": ("shade 2", "train"),
        "data/test-00000-of-00001.parquet#0": ("shade 3", "test"),
    },
    "pictures": {
        "train/1.png": ("shade 1", "train"),
        "train/2.png": ("shade 2", "train"),
        "test/3.png": ("shade 3", "test"),
    },
    "shards": {
        "train-00000.tar/1.png": ("shade 1", "train"),
        "train-00000.tar/2.png": ("shade 2", "train"),
        "test-00000.tar/3.png": ("shade 3", "test"),
    },
    "table": {"1.png": ("shade 1", "train"), "2.png": ("shade 2", "train"), "3.png": ("shade 3", "test")},
}


@pytest.mark.parametrize("name", RIGHT)
def test_folders_of_datasets(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    _repositories(tmp_path)
    records = read_records(tmp_path / "org" / name, layout="hf")
    assert _words(records) == RIGHT[name]
    assert [
        _shade(record.place)
        for _, record in sorted(records.items(), key=lambda item: item[1].captions[0].text)
    ] == [
        1,
        2,
        3,
    ]


# In a process of its own: the libraries take the hub's address when they are imported.
READ = """
import json, sys
from pathlib import Path
from tasks.corpora.config import load_corpora
from tasks.corpora.media import content_digest
from tasks.corpora.readers import read_sources
from tasks.errors import RequestError
told = {}
for name in sys.argv[2:]:
    Path("corpora.toml").write_text(
        f'[[corpus]]\\nname = "c"\\nkind = "images"\\nformat = "hf"\\npath = "{name}"\\nlicence = "x"\\n'
    )
    try:
        records = [record for corpus in load_corpora("corpora.toml") for record in read_sources(corpus)]
    except RequestError as error:
        told[name] = str(error)
        continue
    told[name] = {
        record.uri: [record.captions[0].text, record.split, content_digest(record.place), record.mtime_ns > 0]
        for record in records
    }
Path(sys.argv[1]).write_text(json.dumps(told))
"""


@pytest.mark.slow
@pytest.mark.gate
def test_a_hub(tmp_path: Path) -> None:
    _repositories(tmp_path)
    (tmp_path / "org/code").mkdir()
    (tmp_path / "org/code/code.py").write_text("raise SystemExit('ran')\n")
    (tmp_path / "here").mkdir()
    names = [f"org/{name}" for name in RIGHT]
    asked_for = [*names, "org/nothing", "org/code", "hf://datasets/org/parquet"]
    with hub(tmp_path) as (address, asked):
        environment = os.environ | {
            "HF_ENDPOINT": address,
            "HF_HOME": str(tmp_path / "home"),
            "PYTHONPATH": str(ROOT),
        }
        command = [sys.executable, "-c", READ, str(tmp_path / "told.json"), *asked_for]
        done = subprocess.run(command, cwd=tmp_path / "here", env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "told.json").read_text())
    for name in RIGHT:
        here = read_records(tmp_path / "org" / name, layout="hf")
        assert told[f"org/{name}"] == {
            uri: [*words, content_digest(here[uri].place), True] for uri, words in RIGHT[name].items()
        }
    assert told["hf://datasets/org/parquet"] == told["org/parquet"]
    assert (
        "'c': path: hf://datasets/org/nothing does not exist, and there is no such folder here"
        in told["org/nothing"]
    )
    assert "org/code: no dataset can be read" in told["org/code"]
    # Of media only what is needed is read, and nothing is counted as a download.
    assert all(path.startswith(("/api/", "/datasets/org/")) for _, path, _ in asked)


def test_what_reaches_out_of_a_folder_is_refused_before_it_is_looked_for(tmp_path: Path) -> None:
    _repositories(tmp_path)
    folder = tmp_path / "org/parquet"
    with hub(tmp_path) as (address, asked):
        for place in (
            f"{address}/datasets/org/parquet/resolve/main/x.parquet",
            "../table/*.jsonl",
            "/etc/*",
            "~/x",
        ):
            card = f"---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: '{place}'\n---\n"
            (folder / "README.md").write_text(card)
            with pytest.raises(RequestError, match=r"README\.md: names .* lies outside its corpus"):
                read_records(folder, layout="hf")
        assert not asked
    (folder / "README.md").unlink()
    (folder / "data/train-00000-of-00001.parquet").unlink()
    (folder / "data/train-00000-of-00001.parquet").symlink_to("/etc/hostname")
    with pytest.raises(RequestError, match="lies outside its corpus"):
        read_records(folder, layout="hf")


def test_a_folder_comes_before_the_hub(tmp_path: Path) -> None:
    _dataset(tmp_path, [1]).save_to_disk(tmp_path / "org/d")
    table = '[[corpus]]\nname = "c"\nkind = "images"\nformat = "hf"\npath = "org/d"\nlicence = "x"\n'
    (tmp_path / "corpora.toml").write_text(table)
    (corpus,) = load_corpora(tmp_path / "corpora.toml")
    assert corpus.path == tmp_path / "org/d"
