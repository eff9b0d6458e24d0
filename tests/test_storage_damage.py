"""Files of tables that are damaged anywhere: whatever reads or writes them ends with one line, or well."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.dataset.info import dataset_info
from flows.dataset.report import report
from storage.dataset.clip_dataset import ClipDataset
from storage.dataset.compaction import compact
from storage.dataset.folder import TABLES, TEXTS, table_path
from storage.dataset.removal import remove
from storage.dataset.repair import repair
from storage.dataset.table_reader import reading
from storage.dataset.tables import open_table, write_rows
from storage.dataset.tags import record_build
from storage.dataset.writer import DatasetWriter, SourceGroup
from storage.errors import StorageError
from tasks.clips.video_io import encode_lossless_ish
from tests.dataset_rows import SHAPE, clip_row, commit, quarantine_row, source_row


def _read(dataset_dir: Path) -> None:
    dataset = ClipDataset.open(dataset_dir)
    rows = range(len(dataset))
    dataset.clips.tensors(rows, "latents")
    dataset.clips.videos(rows)
    dataset.rejected.videos([0])
    dataset.text_states(["caption of a"])
    assert dataset.text_encoder is not None and dataset.latent_shape == SHAPE
    for batch in dataset.clips.take_batches([[0], [1, 2]], ["latents", "caption", "clip_features"]):
        batch["caption"].to_pylist()
    dataset.clips.whole_rows(rows)


def _write(dataset_dir: Path) -> None:
    with DatasetWriter.reopen(dataset_dir) as writer:
        writer.table("clips").read(["row", "clip_id", "caption"])
        writer.table("rejected").read(["row", "clip_id", "caption", "reason"])
        writer.source_places()
        writer.captions_without_states("t")
        group = SourceGroup([source_row("a", 2)], [], write_rows(dataset_dir, "clips", [clip_row("a", 7)]))
        writer.commit(group)
        writer.finish({})


ALL: dict[str, Callable[[Path], object]] = {
    "info": lambda folder: dataset_info(ClipDataset.open(folder)),
    "report": lambda folder: report(str(folder), folder.parent / "report.html"),
    "training": _read,
    "build": _write,
    "remove": lambda folder: remove(folder, sources=["a"], purge=True),
    "compact": lambda folder: compact(folder, keep_days=0.0),
    "repair": repair,
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """Two builds with rows in every table, videos that decode, near-duplicates and text states."""
    folder = tmp_path_factory.mktemp("damage") / "sound"
    frames = np.zeros((SHAPE[0], 48, 64, 3), np.uint8)
    mp4 = encode_lossless_ish(frames, 8.0)
    kept = [clip_row(name, video=mp4) for name in "abc"]
    rejected = [clip_row(name, video=mp4, reason="duplicate", duplicate_of="a-0") for name in "de"]
    sources = [source_row(name) for name in "abcdef"]
    with DatasetWriter(folder, SHAPE) as writer:
        tables = [write_rows(folder, "clips", kept), write_rows(folder, "rejected", rejected)]
        writer.commit(SourceGroup(sources, [quarantine_row("f")], *tables))
        captions = [row["caption"] for row in kept]
        writer.add_states(captions, np.ones((3, 2, 4), np.float16), "t")
        writer.finish({"filter": {"clip_threshold": 0.2}, "profile": "tiny"})
    commit(folder, [clip_row("g")], sources=[source_row("g")])
    return folder


@pytest.mark.parametrize("name", ALL)
def test_all_of_them_work_on_what_is_sound(name, sound, tmp_path):
    ALL[name](Path(shutil.copytree(sound, tmp_path / "copy")))


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_damage_is_one_line(name, sound, tmp_path_factory, data):
    folder = Path(shutil.copytree(sound, tmp_path_factory.mktemp("damaged") / "set"))
    tables = [table_path(folder, table) for table in (*TABLES, TEXTS)]
    files = sorted(file for table in tables for file in table.rglob("*") if file.is_file())
    path = data.draw(st.sampled_from(files))
    content = bytearray(path.read_bytes())
    start = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content = content[:start]
    else:
        junk = data.draw(st.binary(min_size=1, max_size=64))
        content[start : start + len(junk)] = junk
    path.write_bytes(content)
    try:
        ALL[name](folder)
    except StorageError as error:
        assert "\n" not in str(error) and str(folder) in str(error)
    finally:
        shutil.rmtree(folder.parent)


@pytest.mark.parametrize("name", ALL)
def test_a_table_whose_data_lie_elsewhere_is_refused(name, sound, tmp_path):
    """A dataset of somebody else's reads no other folder, and asks no address with the keys of its reader."""
    import lance

    folder = tmp_path / "d"
    shutil.copytree(sound, folder)
    lance.dataset(str(table_path(folder, "clips"))).add_bases([lance.DatasetBasePath("s3://of-another/x")])
    _count_the_newest(folder)
    with pytest.raises(StorageError) as told:
        ALL[name](folder)
    assert str(told.value) == (
        f"{folder}/clips.lance: its data lie elsewhere too (s3://of-another/x), and a dataset is one folder"
    )


def _count_the_newest(folder: Path) -> None:
    """Lets the newest build be of the newest version of the clips, as somebody would who gives a dataset away."""
    import lance

    version = lance.dataset(str(table_path(folder, "clips"))).version
    index = json.loads((folder / "builds.json").read_text())
    for build in index["builds"]:
        build["versions"]["clips"] = version
    (folder / "builds.json").write_text(json.dumps(index))


def test_a_text_that_is_none_is_found_where_the_table_is_read(sound, tmp_path):
    """Lance has no checksums: bytes that are no UTF-8 come through, and would end whoever looks at them."""
    folder = Path(shutil.copytree(sound, tmp_path / "copy"))
    broken = 0
    for path in (table_path(folder, "clips") / "data").iterdir():
        content = path.read_bytes()
        broken += content.count(b"caption of")
        path.write_bytes(content.replace(b"caption of", b"caption\xff\xfe\xfd"))
    assert broken
    for name in ("report", "training", "build"):
        with pytest.raises(StorageError, match=r"clips\.lance: cannot be read: .*vidrd dataset verify"):
            ALL[name](folder)


def test_a_table_that_lacks_columns_is_reported_with_what_it_has(sound, tmp_path):
    folder = Path(shutil.copytree(sound, tmp_path / "copy"))
    open_table(folder, "quarantine").drop_columns(["source_uri", "stage"])
    open_table(folder, "clips").drop_columns(["kind", "aesthetic"])
    with DatasetWriter.reopen(folder) as writer:
        record_build(writer.dataset_dir, {})
    written = Path(report(str(folder), tmp_path / "report.html")["report"]).read_text(encoding="utf-8")
    (unmeasured,) = re.findall(r"Not measured in this build: ([^.]*)\.", written)
    assert "no frames" in written and "aesthetic" in unmeasured.split(", ")


def test_a_panic_of_rust_is_an_error_of_one_line() -> None:
    class PanicException(BaseException):
        """As PyO3 raises it: no Exception."""

    with pytest.raises(RuntimeError, match=r"^index out of bounds$"), reading():
        raise PanicException("index out of bounds\nnote: run with RUST_BACKTRACE=1")
    with pytest.raises(KeyboardInterrupt), reading():
        raise KeyboardInterrupt


@pytest.mark.parametrize("left", [0, 1_000_000, None])
def test_a_video_that_is_damaged_takes_no_other_with_it(tmp_path: Path, left: int | None) -> None:
    """Large ones lie in files of their own, which are opened one after another."""
    videos = [bytes([65 + number]) * 4_500_000 for number in range(3)]
    rows = [clip_row(name, video=video) for name, video in zip("abc", videos, strict=True)]
    commit(tmp_path, rows, sources=[source_row(name) for name in "abc"])
    files = [path for path in table_path(tmp_path, "clips").rglob("*") if path.is_file()]
    (own,) = [path for path in files if videos[1][:4_000_000] in path.read_bytes()]
    if left is None:
        own.unlink()
    else:
        own.write_bytes(own.read_bytes()[:left])
    first, second, third = ClipDataset.open(tmp_path).clips.videos_past_damage(range(3))
    assert (first, third) == (videos[0], videos[2]) and isinstance(second, Exception)
