"""The films that shot splitting is measured on: their truth is what the frames show, and most of it is found."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tasks.clips.video_io import iter_frames
from tests.bench.shots import DETECTORS, Score
from tests.joined_films import KINDS, JoinedFilm


@pytest.fixture(scope="module")
def film(shared_dir, tmp_path_factory) -> tuple[Path, JoinedFilm]:
    """One transition of each kind, and a flash."""
    film = JoinedFilm(shared_dir / "media/videos", 1, list(KINDS))
    path = tmp_path_factory.mktemp("joined") / "film.mp4"
    film.write(path)
    return path, film


@pytest.mark.slow
@pytest.mark.gate
def test_the_truth_is_what_the_frames_show(film):
    path, joined = film
    frames = [frame.astype(float) for _, frame in iter_frames(path)]
    light = np.array([frame.mean() for frame in frames])
    changes = np.array([np.abs(b - a).mean() for a, b in pairwise(frames)])
    assert [true.kind for true in joined.truth] == list(KINDS)
    for true in joined.truth:
        inside = light[true.first : true.stop]
        around = changes[true.first - 12 : true.first - 2]
        if true.kind == "cut":
            assert true.first == true.stop and changes[true.stop - 1] > 3 * np.median(around)
        elif true.kind == "black":
            assert inside.max() < 3 < min(light[true.first - 1], light[true.stop])
        elif true.kind == "fade":
            assert inside.min() < 3 and inside[0] > 3
        elif true.kind == "flash":
            assert inside.min() > 190 and len(inside) <= 4 and true.sides[0] == true.sides[1]
        else:
            assert 8 <= len(inside) <= 36


@pytest.mark.slow
@pytest.mark.gate
def test_our_stages_find_cuts_fades_and_black_and_take_no_flash_for_one(film):
    path, joined = film
    score = Score()
    found, frames = DETECTORS["ours, adaptive 3 and 15"](path)
    score.add(found, joined.truth)
    assert frames == sum(1 for _ in iter_frames(path))
    assert all(score.right[kind] == 1 for kind in ("cut", "fade", "black"))
    assert (score.false, score.false_in_flashes) == (0, 0)


def test_a_score_counts_right_false_and_shown(film):
    _, joined = film
    truth = [true for true in joined.truth if true.kind != "flash"]
    perfect, none = Score(), Score()
    perfect.add([(true.first, true.stop) for true in truth], joined.truth)
    none.add([(2, 2)], joined.truth)
    counts = {kind: 1 for kind in KINDS if kind != "flash"}
    assert perfect.right == counts and (perfect.false, perfect.shown) == (0, 0) and perfect.mixed > 0
    assert none.right == {} and none.false == 1 and none.shown == none.mixed == perfect.mixed
