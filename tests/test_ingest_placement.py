"""Where clips belong follows from their columns alone: in any order of rows, copies never divide train and test."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import settings as checks
from hypothesis import strategies as st

from storage.dataset.schema import split_of
from tasks.filters.settings import FilterSettings
from tasks.ingest.placement import COLUMNS, DUPLICATE, place

LOOKS = [np.random.default_rng(look).integers(0, 256, 576).astype(np.uint8).tobytes() for look in range(6)]


def _row(clip: int, source: int, look: int, score: float) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    return row | {
        "clip_id": f"clip-{clip:03d}",
        "source_id": f"source-{source:02d}",
        "kind": "short-videos",
        "source_width": 64,
        "source_height": 64,
        "clip_score": score,
        "fingerprint": LOOKS[look],
    }


# Clips: (source, what it looks like, CLIP score); official splits of some sources.
worlds = st.tuples(
    st.lists(
        st.tuples(st.integers(0, 7), st.integers(0, 5), st.sampled_from([0.1, 0.3])), min_size=1, max_size=24
    ),
    st.dictionaries(st.integers(0, 7), st.sampled_from(["train", "val", "test"]), max_size=4),
)


@checks(deadline=None)  # a busy machine is no failure
@given(worlds, st.randoms(use_true_random=False))
def test_of_equal_clips_the_smallest_of_another_source_stays(world, rnd):
    clips, official = world
    rows = [_row(number, *clip) for number, clip in enumerate(clips)]
    splits = {f"source-{number:02d}": split for number, split in official.items()}
    settings = FilterSettings(clip_threshold=0.2, duplicates="perceptual")
    placed = dict(zip([row["clip_id"] for row in rows], place(rows, settings, splits), strict=True))
    shuffled = rnd.sample(rows, len(rows))
    again = zip([row["clip_id"] for row in shuffled], place(shuffled, settings, splits), strict=True)
    assert dict(again) == placed

    by_id = {row["clip_id"]: row for row in rows}
    kept = {clip_id for clip_id, placement in placed.items() if placement.reason is None}
    for clip_id, placement in placed.items():
        row = by_id[clip_id]
        assert (placement.reason == "clip_score") == (row["clip_score"] < 0.2)
        earlier = [
            other
            for other in sorted(kept)
            if other < clip_id
            and by_id[other]["source_id"] != row["source_id"]
            and by_id[other]["fingerprint"] == row["fingerprint"]
        ]
        if row["clip_score"] >= 0.2:
            assert placement.duplicate_of == (earlier[0] if earlier else None)
            assert placement.reason == (DUPLICATE if earlier else None)

    # Sources that show the same thing share a split, and one that nothing is known of gets that of its hash.
    for first in rows:
        for second in rows:
            passed = min(first["clip_score"], second["clip_score"]) >= 0.2
            if passed and first["fingerprint"] == second["fingerprint"]:
                assert placed[first["clip_id"]].split == placed[second["clip_id"]].split
    alone = [row for row in rows if row["clip_score"] < 0.2 and row["source_id"] not in splits]
    together = {row["source_id"] for row in rows if row["clip_score"] >= 0.2}
    for row in alone:
        if row["source_id"] not in together:
            assert placed[row["clip_id"]].split == split_of(row["source_id"])


def test_the_corpora_s_own_splits_win_and_test_wins_over_train():
    rows = [_row(0, 0, 0, 1.0), _row(1, 1, 0, 1.0), _row(2, 2, 1, 1.0)]
    splits = {"source-00": "train", "source-01": "test", "source-02": "val"}
    settings = FilterSettings(duplicates="perceptual")
    assert [p.split for p in place(rows, settings, splits)] == ["test", "test", "val"]
    assert [p.split for p in place(rows, FilterSettings(), splits)] == ["train", "test", "val"]


def test_by_clip_twins_are_clips_whose_frames_look_alike_on_average():
    """Whatever the order of their frames and the length of the vectors; one frame in common makes no twins."""
    up, right = np.eye(2, dtype=np.float16) * 3
    frames = {
        0: [up, right],
        1: [right, up],
        2: [7 * up, 7 * right],
        3: [up, up],
        4: [up, -right],
    }
    rows = [
        _row(clip, clip, 0, 1.0) | {"clip_features": np.concatenate(two), "num_frames": 2}
        for clip, two in frames.items()
    ]
    settings = FilterSettings(duplicates="clip", min_duplicate_cosine=0.99)
    placed = place(rows, settings, {"source-01": "test", "source-03": "val"})
    assert [one.duplicate_of for one in placed] == [None, "clip-000", "clip-000", None, None]
    assert [one.split for one in placed[:4]] == ["test", "test", "test", "val"]
