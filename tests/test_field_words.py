"""The odd inputs of the shared media, as one build: the right words in the dataset's rows, the rest named."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from flows.profile import Profile
from storage.dataset.clip_dataset import ClipDataset
from tasks.clips.video_io import encode
from tasks.ingest.workers import Workers
from tests.build_world import all_rows, build, keep_all
from tests.corpus_records import write_image

FIELD = Path(__file__).parents[1].parent / "shared/media/field"
TABLE = '[[corpus]]\nname = "{}"\nkind = "{}"\nformat = "{}"\npath = "{}"\nlicence = "CC0-1.0"\n'

WORDS = {
    ("encodings", "a.png"): "a dog’s red ball",
    ("encodings", "b.png"): "a red circle moving right",
    ("csv", "b.png"): "ok",
    ("tsv", "a.png"): "two lines, with comma",
    ("tsv", "b.png"): 'a 6" nail',
    ("tsv", "c.png"): 'a 6" nail',
    ("tsv", "d.png"): "a 🐕 dog",
    ("tsv", "g.png"): "trailing",
    ("hf", "hf1/videos/0.png"): "a red circle",
    ("hf", "hf1/videos/1.png"): "a blue circle",
    ("hf", "hf3/videos/0.png"): "a red circle",
    ("hf", "hf3/videos/1.png"): "a blue circle",
    ("hf", "hf4/videos/0.png"): "a red circle",
    ("hf", "hf4/videos/1.png"): "a blue circle",
    ("tar", "img.tar/22.0/1.1.png"): "cap 1.1",
    ("tar", "img.tar/22.0/1.2.png"): "cap 1.2",
    ("tar", "img.tar/x.seg.jpg"): "cap x",
    ("tar", "img.tar/./0001.png"): "cap 0001",
    ("tar", "img.tar/0002.png"): "second 0002",
    ("tar", "img.tar/Q.PNG"): "cap Q",
    ("tar", "img.tar/m.png"): "a dog’s",
    ("tar", "img.tar/n.png"): "bom json",
    ("tar", "img.tar/a.jpg"): "shared a",
    ("tar", "img.tar/a.png"): "shared a",
    ("tar", "img.tar/p.input.png"): "cap p",
    ("tar", "img.tar/p.output.png"): "cap p",
}
NAMED = {
    ("encodings", "c.png"): "c.txt: holds NUL characters",
    ("encodings", "g.png"): "g.txt: the encoding is not known",
    ("csv", "a.png"): "manifest.csv: line 2: has 3 fields, its header 2",
    ("tsv", "e.png"): "no caption",
    ("tar", "img.tar/w.png"): "no caption",
    ("tar", "img.tar/0002.png (1)"): "is in its tar 2 times; the last one counts",
}
CUES = {
    ("s1.mp4", "a red circle"),
    ("s1.mp4", "moving right"),
    ("s1.mp4", "tom & jerry bold"),
    ("v1.mp4", "a red & blue circle"),
    ("v1.mp4", "overlap <b> 5 < 6 x"),
    ("v1.mp4", "timed words r"),
}


def test_the_words_of_the_field_folder(tmp_path: Path, workers: Workers, tiny_profile: Profile) -> None:
    if not FIELD.exists():
        pytest.skip("../shared/media/field is not here")
    shades = np.repeat(np.uint8([40, 220, 90, 250, 10, 160, 60, 200]), 8)  # a cut each second
    for name in ("s1.srt", "v1.vtt"):
        (tmp_path / "subtitles").mkdir(exist_ok=True)
        shutil.copy(FIELD / "subtitles" / name, tmp_path / "subtitles")
        frames_nhwc = np.broadcast_to(shades[:, None, None, None], (64, 64, 64, 3))
        encode(tmp_path / "subtitles" / f"{name[:2]}.mp4", np.ascontiguousarray(frames_nhwc), 8.0)
    tables = [
        ("encodings", "images", "folder", FIELD / "encodings"),
        ("csv", "images", "folder", FIELD / "tables/csv-backslash"),
        ("tsv", "images", "folder", FIELD / "tables/tsv-quoted"),
        ("hf", "images", "folder", FIELD / "hf-folders"),
        ("tar", "images", "webdataset", FIELD / "webdataset"),
        ("subtitles", "long-videos", "folder", "subtitles"),
    ]
    (tmp_path / "corpora.toml").write_text("".join(TABLE.format(*table) for table in tables))
    build(tmp_path / "corpora.toml", tmp_path / "d", keep_all(tiny_profile), workers=workers)
    rows = all_rows(tmp_path / "d").values()
    captions = {(row["corpus"], row["source_uri"]): row["caption"] for row in rows}
    assert {key: captions.get(key) for key in WORDS} == WORDS
    assert captions["tsv", "f.png"] in ("first", "second")
    assert captions["tar", "img.tar/o.png"] in ("list a", "list b")
    told = {(row["source_uri"], row["caption"]) for row in rows if row["corpus"] == "subtitles"}
    assert told <= CUES and {uri for uri, _ in told} == {"s1.mp4", "v1.mp4"}
    quarantine = (
        ClipDataset.open(tmp_path / "d").quarantine.read(["corpus", "source_uri", "error"]).to_pylist()
    )
    errors = {(row["corpus"], row["source_uri"]): row["error"] for row in quarantine}
    assert {key: text for key, text in NAMED.items() if text not in errors.get(key, "")} == {}
    names = [uri for _, uri in captions | errors]
    assert not [
        name for name in names if "._" in name or "MACOSX" in name or "Thumbs" in name or "DS_Store" in name
    ]


def test_the_rows_of_a_saved_dataset(tmp_path: Path, workers: Workers, tiny_profile: Profile) -> None:
    datasets = pytest.importorskip("datasets")
    for split, shades in (("train", (10, 90)), ("test", (200,))):
        paths = [str(write_image(tmp_path / f"made/{shade}.png", shade)) for shade in shades]
        columns = {"image": paths, "text": [f"shade {shade}" for shade in shades]}
        part = datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())
        part.save_to_disk(tmp_path / "saved" / split)
    (tmp_path / "saved/dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    (tmp_path / "corpora.toml").write_text(TABLE.format("saved", "images", "hf", "saved"))
    summary = build(tmp_path / "corpora.toml", tmp_path / "d", keep_all(tiny_profile), workers=workers)
    assert (summary.read, summary.quarantined) == (3, 0)
    rows = all_rows(tmp_path / "d").values()
    assert {(row["caption"], row["split"]) for row in rows} == {
        ("shade 10", "train"),
        ("shade 90", "train"),
        ("shade 200", "test"),
    }
