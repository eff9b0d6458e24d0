"""The report of a dataset says what the tables hold, whatever they hold, and is one page that carries everything."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.dataset.report import report
from storage.dataset.clip_dataset import ClipDataset
from storage.dataset.tables import write_rows
from storage.dataset.writer import DatasetWriter, SourceGroup
from storage.errors import StorageError
from tasks.clips.video_io import encode_lossless_ish
from tasks.errors import RequestError
from tasks.filters.settings import FilterSettings
from tasks.pages.charts import stacked_histogram
from tasks.pages.dataset_counts import SAMPLES, count_dataset, error_kind
from tasks.pages.dataset_signals import MEASURES
from tasks.pages.dataset_thresholds import near_thresholds, show_thresholds
from tasks.pages.histogram import MAX_BINS, Histogram
from tests.chart_shapes import assert_sound, hints
from tests.dataset_rows import SHAPE, clip_row, commit, quarantine_row, source_row

FILTER = {"clip_threshold": 0.25, "min_motion": None, "max_motion": 9.0, "duplicates": "perceptual"}
SUMMARY = {
    "read": 47,
    "clips": 50,
    "kept": 30,
    "quarantined": 7,
    "encoded": 30,
    "seconds": {"decode": 10.0, "encode": 5.0, "wall": 12.5},
    "filter": FILTER,
}


def _mp4(shade: int) -> bytes:
    frames = np.full((SHAPE[0], 48, 64, 3), shade, np.uint8)
    frames[:, :, :20] += np.arange(SHAPE[0], dtype=np.uint8)[:, None, None, None] * 20
    return encode_lossless_ish(frames, 8.0)


def _clips() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """30 kept and 20 rejected clips of three corpora; two of the rejected repeat a kept one."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(50):
        kept = number < 30
        corpus = ("photos", "walks", "films")[number % 3]
        video = None if corpus == "photos" else _mp4(40 + 3 * number)
        rows.append(
            clip_row(
                f"s{number}",
                video=video,
                corpus=corpus,
                kind={"photos": "images", "walks": "short-videos", "films": "long-videos"}[corpus],
                licence="CC0-1.0" if number % 2 else "CC-BY-4.0",
                caption=f"caption <b>{number}</b>",
                clip_score=float(rng.normal(0.32 if kept else 0.2, 0.02)),
                motion=float(rng.gamma(2, 1.5)),
            )
        )
    rejected = [
        {**row, "latents": None, "reason": "motion" if i < 5 else "clip_score"}
        for i, row in enumerate(rows[30:])
    ]
    for row in rejected[-2:]:
        row |= {"reason": "duplicate", "duplicate_of": "s1-0"}
    return rows[:30], rejected


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clips above with their sources, seven of them failed, tagged with a build's summary."""
    path = tmp_path_factory.mktemp("report") / "data"
    kept, rejected = _clips()
    sources = [
        source_row(row["source_id"]) | {"corpus": row["corpus"], "kind": row["kind"]}
        for row in [*kept, *rejected]
    ]
    broken = [f"broken{number}" for number in range(7)]
    sources += [source_row(name, failed_stage="decode") for name in broken]
    quarantine = [
        quarantine_row(name) | {"error": f"{name}.mp4: too short: {number} frames over 0.{number} s"}
        for number, name in enumerate(broken)
    ]
    with DatasetWriter(path, SHAPE) as writer:
        writer.commit(
            SourceGroup(
                sources, quarantine, write_rows(path, "clips", kept), write_rows(path, "rejected", rejected)
            )
        )
        writer.finish(SUMMARY)
    return path


def test_counts_are_those_of_the_rows(folder: Path) -> None:
    dataset = ClipDataset.open(folder)
    for counts in (count_dataset(dataset), count_dataset(dataset, batch_rows=7)):
        kept, rejected = _clips()
        assert counts.rows["clips"] == 30 and counts.rows["rejected"] == 20
        for corpus, found in counts.corpora.items():
            assert found.kept == sum(row["corpus"] == corpus for row in kept)
            assert found.rejected == sum(row["corpus"] == corpus for row in rejected)
        assert counts.corpora["walks"].failed == 7
        assert sum(corpus.sources for corpus in counts.corpora.values()) == 57
        assert {name: where.total() for name, where in counts.reasons.items()} == Counter(
            row["reason"] for row in rejected
        )
        assert counts.labels["licence"] == Counter(row["licence"] for row in kept)
        assert counts.near_duplicates == {"clips": 0, "rejected": 2}
        assert counts.errors == {"decode": {"…: too short: N frames over N s": 7}}
        assert counts.kept_s == pytest.approx(30 * SHAPE[0] / 8)
        scores = counts.histograms["CLIP score"]
        assert (scores.count("kept"), scores.count("rejected")) == (30, 20)
        assert scores.mean == pytest.approx(np.mean([row["clip_score"] for row in [*kept, *rejected]]))
        # Clips of images are no measure of motion.
        assert counts.histograms["motion"].total == sum(row["kind"] != "images" for row in [*kept, *rejected])


def test_samples_are_the_same_few_however_the_table_is_read(folder: Path) -> None:
    dataset = ClipDataset.open(folder)
    whole = count_dataset(dataset)
    assert count_dataset(dataset, batch_rows=3).kept_samples == whole.kept_samples
    ids = dataset.clips.read(["clip_id", "row", "corpus"]).to_pylist()
    for corpus, samples in whole.kept_samples.items():
        expected = sorted((row["clip_id"], row["row"]) for row in ids if row["corpus"] == corpus)[:SAMPLES]
        assert [(sample.clip_id, sample.row) for sample in samples] == expected


def test_the_page_carries_everything_and_says_what_was_counted(folder: Path, tmp_path: Path) -> None:
    written = report(str(folder), tmp_path / "new" / "report.html")
    page = Path(written["report"]).read_text(encoding="utf-8")
    links = _Links()
    links.feed(page)
    assert links.addresses and all(address.startswith("data:") for address in links.addresses)
    assert not links.scripts and not re.search(r"@import|url\(", page)
    assert "57 sources gave 50 clips, of which 30 were kept" in page
    assert "<b>" not in page and "caption &lt;b&gt;" in page, "text of others is escaped"
    # A few clips of each corpus with pixels, of the reasons those that are no images, and both pairs.
    assert page.count("no pixels kept") >= SAMPLES
    assert page.count("data:image/webp") >= 2 * SAMPLES + 4
    for shown in (
        "clip_threshold",
        "max_motion",
        "CC-BY-4.0",
        "Not measured in this build: picture, interlaced, text, text that stays, nudity, aesthetic",
    ):
        assert shown in page
    assert page.count('class="threshold"') == 2
    # 50 clips in 10 s of decoding, 30 encoded in 5 s, 50 in 12.5 s altogether.
    for shown in ('<td class="n">5</td>', '<td class="n">6</td>', "4.0 clips/s"):
        assert shown in page


def test_clips_on_either_side_of_a_threshold_are_shown_nearest_first(folder: Path, tmp_path: Path) -> None:
    dataset = ClipDataset.open(folder)
    rows = [*_clips()[0], *_clips()[1]]
    motion = {row["clip_id"]: np.float32(row["motion"]) for row in rows if row["kind"] != "images"}
    score = {row["clip_id"]: np.float32(row["clip_score"]) for row in rows}
    for batch_rows in (7, 8192):
        low, high = near = near_thresholds({"clip_threshold": 0.25, "max_motion": 4.0, "min_motion": None})
        count_dataset(
            dataset, batch_rows, lambda table, batch, near=near: [n.take(table, batch) for n in near]
        )
        for found, values in (
            (low.passing, sorted((v - 0.25, name) for name, v in score.items() if v >= 0.25)),
            (low.failing, sorted((0.25 - v, name) for name, v in score.items() if v < 0.25)),
            (high.passing, sorted((4 - v, name) for name, v in motion.items() if v <= 4)),
            (high.failing, sorted((v - 4, name) for name, v in motion.items() if v > 4)),
        ):
            assert [name for _, name, *_ in found] == [name for _, name in values][:5]
    shown = show_thresholds(dataset, near)
    notes = [float(thumbnail.note.split()[0]) for thumbnail in shown[1].above]
    assert notes == sorted(notes) and all(4 < value < 9 for value in notes)
    page = Path(report(str(folder), tmp_path / "r.html", {"filter.max_motion": 4.0})["report"]).read_text(
        "utf-8"
    )
    assert "<code>max_motion</code> 4" in page and "tried here, not applied" in page
    assert page.index("just below: are rejected") < page.index("just above: pass")  # of clip_threshold
    assert "just below: pass" in page and "just above: are rejected" in page
    with pytest.raises(RequestError, match=r"filter: max_motion: .*255"):
        report(str(folder), tmp_path / "r.html", {"filter.max_motion": 400})


def test_an_older_tag_and_a_dataset_with_next_to_nothing_have_reports(tmp_path: Path) -> None:
    data = tmp_path / "data"
    commit(data, sources=[source_row("x", failed_stage="read")], quarantine=[quarantine_row("x")])
    commit(data, [clip_row("a", corpus="later", video=b"no video at all")], sources=[source_row("a")])
    first = Path(report(f"{data}@build-0001", tmp_path / "1.html")["report"]).read_text(encoding="utf-8")
    second = Path(report(str(data), tmp_path / "2.html")["report"]).read_text(encoding="utf-8")
    assert "1 sources gave 0 clips" in first and "later" not in first and "build-0002" not in first
    assert "cannot be decoded" in second and "build-0001" in second


def test_wrong_requests_are_one_line(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path, tmp_path / "file" / "report.html"):
        with pytest.raises(RequestError, match=r"^out: [^\n]+$"):
            report(str(folder), out)
    with pytest.raises(StorageError, match="no build tagged"):
        report(f"{folder}@build-0009", tmp_path / "a.html")
    assert not list(tmp_path.glob("*.html"))


@settings(deadline=None)  # a busy machine is no failure
@given(
    st.lists(
        st.lists(st.floats(width=32, allow_nan=True, allow_infinity=True), max_size=30),
        min_size=1,
        max_size=5,
    )
)
def test_histograms_count_every_number_in_its_bin(batches: list[list[float]]) -> None:
    histogram = Histogram(("kept",))
    for batch in batches:
        histogram.add("kept", np.array(batch, np.float64))
    numbers = [value for batch in batches for value in batch if np.isfinite(value)]
    assert histogram.total == len(numbers)
    assert histogram.nulls == sum(map(len, batches)) - len(numbers)
    bins = histogram.bins("kept")
    assert len(bins) <= MAX_BINS
    assert bins == Counter(int(np.floor(value / histogram.bin_width)) for value in numbers)
    if numbers:
        chart = stacked_histogram(histogram, "a histogram", "values", [0.25])
        assert_sound(chart)
        drawn = [int(hint.split(" kept")[0].replace(",", "")) for hint in hints(chart)]
        assert sum(drawn) == len(numbers)


def test_errors_that_differ_in_names_and_numbers_only_are_one() -> None:
    rows = [
        {"source_uri": f"clips/{name}", "error": f"{name}: cannot be decoded: byte {number} of 90.5"}
        for number, name in enumerate(("a.mp4", "b.mp4"))
    ]
    assert {error_kind(row) for row in rows} == {"…: cannot be decoded: byte N of N"}


class _Links(HTMLParser):
    """Every address that the page would load something from, and its scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.addresses += [
            value or "" for name, value in attrs if name in ("src", "href", "srcset", "poster")
        ]


def test_every_threshold_of_the_filter_has_its_histogram() -> None:
    thresholds = {
        name for name in FilterSettings.model_fields if re.search("(?:^|_)(?:min|max|threshold)(?:_|$)", name)
    }
    of_pairs = {"max_duplicate_distance", "min_duplicate_cosine"}  # no measure of one clip
    assert {name for measure in MEASURES for name in measure.settings} == thresholds - of_pairs
