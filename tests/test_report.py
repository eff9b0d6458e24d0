"""The report is one page that carries everything, and its figures are those of the data."""

from __future__ import annotations

import base64
import io
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from storage.dataset.clip_dataset import ClipDataset
from tasks.clips.from_source import clips_of
from tasks.clips.settings import ClipSettings
from tasks.clips.video_io import encode_lossless_ish
from tasks.corpora.config import load_corpora
from tasks.corpora.readers import read_sources
from tasks.errors import ItemError
from tasks.pages.charts import bar_chart, loss_chart, score_histogram
from tasks.pages.collect import collect_media
from tasks.pages.report import write_report
from tasks.pages.thumbnails import moving_thumbnail
from tasks.pages.truth_check import CheckedClip, check_clips, filter_counts
from tasks.tiny.world.truth import Truth, read_truth
from tasks.units import duration, size
from tests.build_world import small_world
from tests.chart_shapes import assert_sound, hints, shapes
from tests.dataset_rows import SHAPE, clip_row, commit
from tests.whole_videos import write_video

MAX_BYTES = 6_000_000
THRESHOLD = 0.25


@pytest.fixture
def world(tmp_path: Path) -> Path:
    return small_world(tmp_path / "world")


@pytest.fixture
def dataset(world: Path, tmp_path: Path) -> ClipDataset:
    """The small world's clips; captions made wrong score 0.2, all others 0.3, and 0.25 divides them."""
    truths = {(truth.corpus, truth.file, truth.caption_given): truth for truth in read_truth(world.parent)}
    kept, rejected = [], []
    for corpus in load_corpora(world):
        for source in read_sources(corpus):
            try:
                clips = list(clips_of(source, ClipSettings()))
            except ItemError:
                continue
            for clip in clips:
                wrong = truths[(source.corpus, source.uri, clip.captions[0].text)].wrong
                video = None if source.kind == "images" else encode_lossless_ish(clip.frames_nhwc, clip.fps)
                row = clip_row(
                    source.source_id,
                    video=video,
                    clip_id=clip.clip_id,
                    source_uri=source.uri,
                    corpus=source.corpus,
                    kind=source.kind,
                    start_s=clip.start_s,
                    num_frames=len(clip.frames_nhwc),
                    caption=clip.captions[0].text,
                    clip_score=0.2 if wrong else 0.3,
                )
                if wrong:
                    rejected.append({**row, "reason": "clip_score", "latents": None})
                else:
                    kept.append(row)
    assert len(kept) > 12 and rejected
    commit(tmp_path / "data", clips=kept, rejected=rejected)
    return ClipDataset.open(tmp_path / "data")


def test_every_clip_meets_the_truth_about_its_own_span(dataset: ClipDataset, world: Path) -> None:
    clips = check_clips(dataset, read_truth(world.parent))
    rows = len(dataset) + dataset.rejected.read(["clip_id"]).num_rows
    assert len(clips) == rows
    assert all(clip.row["caption"] == clip.truth.caption_given for clip in clips)
    figures = filter_counts(clips, THRESHOLD)
    assert figures["share_wrong_rejected"] == figures["share_right_kept"] == 1.0
    assert figures["wrong"] + figures["right"] == rows


def test_shares_of_nothing_are_none() -> None:
    truth = Truth("c", "f", "images", "a", "a")
    figures = filter_counts([CheckedClip({}, "clip_score", truth)], THRESHOLD)
    assert (figures["right"], figures["share_right_kept"]) == (1, 0.0)
    assert figures["share_wrong_rejected"] is None


def test_the_page_carries_everything_it_shows(dataset: ClipDataset, world: Path, tmp_path: Path) -> None:
    clips = check_clips(dataset, read_truth(world.parent))
    frames = np.tile(np.arange(24, dtype=np.uint8)[:, None, None, None] * 8, (1, 64, 64, 3))
    known = next(clip.row["caption"] for clip in clips if clip.reason is None)
    samples = []
    for number, prompt in enumerate((known, 'a "new" <b>prompt</b>')):
        video = write_video(np.split(frames, 3), prompt, 7, 3, 8.0, tmp_path / "samples" / f"{number}.mp4")
        samples.append({**vars(video), "file": str(video.file), "clips": 3, "frames": 24})
    curves = {"temporal": [(step, math.inf if step == 7 else 1 / (step + 1)) for step in range(30)]}
    media = collect_media(dataset, clips, samples, curves, world, ClipSettings())
    path = write_report(_summary(clips, samples), media, tmp_path / "report.html")

    page = path.read_text(encoding="utf-8")
    assert path.stat().st_size < MAX_BYTES
    links = _Links()
    links.feed(page)
    assert links.addresses and all(address.startswith("data:") for address in links.addresses)
    assert not re.search(r"@import|url\(", page)
    assert "<b>prompt</b>" not in page, "text of others is escaped"
    assert page.count("<video") == 2 and page.count("has no clip with this caption") == 1
    bars = re.findall(r'class="(bar-(?:accent|worse))"', page)
    assert bars == ["bar-accent", "bar-worse"], "a decoder that came out worse is no winner"
    assert "the model keeps the decoder that it had" in " ".join(page.split())
    for reason in ("no frames", "too few"):
        assert reason in page
    moving = [address for address in links.addresses if address.startswith("data:image/webp")]
    assert len(moving) > 12 and all(_num_frames(address) == 8 for address in moving)


def test_a_missing_figure_breaks_the_report(dataset: ClipDataset, world: Path, tmp_path: Path) -> None:
    from jinja2 import UndefinedError

    clips = check_clips(dataset, read_truth(world.parent))
    frames = np.zeros((8, 64, 64, 3), np.uint8)
    video = write_video([frames], "a", 7, 1, 8.0, tmp_path / "a.mp4")
    samples = [{**vars(video), "file": str(video.file), "clips": 1, "frames": 8}]
    media = collect_media(dataset, clips, samples, {}, world, ClipSettings())
    summary = _summary(clips, samples)
    del summary["promotion"]
    with pytest.raises(UndefinedError):
        write_report(summary, media, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_the_histogram_counts_every_score_on_its_side() -> None:
    rng = np.random.default_rng(0)
    right, wrong = rng.normal(0.3, 0.02, 200), rng.normal(0.2, 0.02, 31)
    chart = score_histogram(right, wrong, 0.25)
    ((threshold_x, _), *_) = shapes(chart, "threshold")[0]
    for name, count in (("right", 200), ("wrong", 31)):
        counted = [re.match(rf"(\d+) {name}, (\S+) to (\S+)", hint) for hint in hints(chart)]
        assert sum(int(found[1]) for found in counted if found) == count
        for found, bar in zip(filter(None, counted), shapes(chart, f"bar-{name}"), strict=True):
            xs = [x for x, _ in bar]
            assert float(found[3]) > 0.249 or max(xs) <= threshold_x
            assert float(found[2]) < 0.251 or min(xs) >= threshold_x


@pytest.mark.parametrize("points", [[(0, 0.5)], [(0, 0.5), (1, 0.5)], [(i, 1e-6 * i) for i in range(3)]])
def test_charts_draw_the_smallest_data(points: list[tuple[int, float | None]]) -> None:
    assert_sound(loss_chart(points))
    assert_sound(bar_chart([("only", 0.0, "0")], "seconds"))
    assert_sound(score_histogram([0.2], [], 0.2))


@settings(deadline=None)  # a busy machine is no failure
@given(
    st.lists(
        st.one_of(st.none(), st.sampled_from([math.nan, math.inf, -math.inf]), st.floats(0, 1e12)),
        min_size=1,
        max_size=60,
    )
)
def test_a_loss_that_is_not_finite_is_a_marked_gap(values: list[float | None]) -> None:
    chart = loss_chart(list(enumerate(values)))
    assert_sound(chart)
    missing = [step for step, value in enumerate(values) if value is None or not math.isfinite(value)]
    if len(missing) < len(values):
        assert hints(chart) == [f"step {step}: not finite" for step in missing]
        known = {x for shape in shapes(chart, "curve-smooth") for x, _ in shape}
        drawn = {x for name in ("curve-raw", "alone") for shape in shapes(chart, name) for x, _ in shape}
        assert len(known) == len(values) - len(missing) and known <= drawn


def test_thumbnails_move_and_are_never_enlarged() -> None:
    frames = np.random.default_rng(0).integers(0, 255, (5, 32, 48, 3), dtype=np.uint8)
    with Image.open(io.BytesIO(_content(moving_thumbnail(frames, 8.0)))) as picture:
        assert picture.size == (48, 32) and picture.n_frames == 5


def test_durations_read_like_speech() -> None:
    assert [duration(s) for s in (0.04, 59.96, 65, 3599)] == ["0.0 s", "60.0 s", "1 min 05 s", "59 min 59 s"]
    assert [duration(s) for s in (3600, 86_399, 266_400)] == ["1 h 00 min", "1 d 00 h", "3 d 02 h"]


def test_sizes_have_three_figures_and_a_unit() -> None:
    assert [size(n) for n in (0, 512, 999.6, 1.234e6, 2e15)] == ["0 B", "512 B", "1 kB", "1.23 MB", "2 PB"]


class _Links(HTMLParser):
    """Every address that the page would load something from."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [
            value or "" for name, value in attrs if name in ("src", "href", "srcset", "poster")
        ]


def _content(address: str) -> bytes:
    return base64.b64decode(address.partition(",")[2])


def _num_frames(address: str) -> int:
    with Image.open(io.BytesIO(_content(address))) as picture:
        return picture.n_frames


def _summary(clips: list[CheckedClip], samples: list[dict[str, Any]]) -> dict[str, Any]:
    """What a demo found, as far as the page needs it."""
    kinds = [clip.row["kind"] for clip in clips if clip.reason is None]
    build = {"read": 22, "skipped": 22, "encoded": 0}
    return {
        "finished_at": "2026-11-22T08:00:00+00:00",
        "profile": "tiny",
        "machine": {"cpus": 2, "platform": "Linux", "python": "3.11"},
        "corpora": ["tiny-images"],
        "clips_per_kind": {kind: kinds.count(kind) for kind in sorted(set(kinds))},
        "rejected_by_reason": {"clip_score": 2},
        "quarantined": 1,
        "quarantine": [{"file": "tiny-clips/a.mp4", "stage": "decode", "error": "no frames"}],
        "dataset": {"path": "data", "tag": "build-0001", "version": SHAPE[0]},
        "builds": {"build-dataset": build, "build-dataset again": build},
        "clip_filter": filter_counts(clips, THRESHOLD),
        "training": {
            part: {"first_loss": 1.0, "last_loss": 0.1, "steps": 30, "kept": part == "temporal"}
            for part in ("temporal", "decoder")
        },
        "held_out_loss": {
            "temporal": {"fresh": 0.3, "base": 0.2, "candidate": 0.1},
            "decoder": {"fresh": 0.0966, "base": 0.09662, "candidate": 0.09675},
        },
        "metrics": {
            "fvd": {"value": 300.0, "protocol": "tiny", "n": 8, "standard_error": None, "real_clips": None},
            "text_score": {
                "value": 0.3,
                "protocol": "tiny",
                "n": 8,
                "standard_error": 0.01,
                "real_clips": 0.31,
            },
        },
        "metrics_unavailable": {"is": "too few videos"},
        "promotion": {
            "promoted": True,
            "verdict": "promote",
            "reason": "There is no champion.",
            "champion": 1,
        },
        "model": {"name": "vidrd", "version": 1, "alias": "champion", "git_commit": "unknown"},
        "samples_model": {"ref": "models:/vidrd@champion", "version": 1},
        "samples": samples,
        "seconds_per_stage": {"build-dataset": 10.0, "retrain": 100.0},
        "seconds_total": 110.0,
        "peak_memory_bytes": 3_000_000_000,
    }
