"""Near-duplicates: the indexes against brute force, the rule in any order, real copies found and other clips not."""

import io
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as checks
from hypothesis import strategies as st

from tasks.clips.collecting import frames_at
from tasks.clips.video_io import encode, iter_frames
from tasks.filters.duplicates import find_duplicates, split_groups
from tasks.filters.neighbours import Fingerprints, Looks, MeanFeatures, distance, hash_bands
from tasks.filters.settings import FilterSettings
from tasks.filters.signals import FINGERPRINT_BYTES, fingerprint
from tasks.tiny.world.drawing import COLOURS, Scene, draw_clip, random_scene

MAX_DISTANCE = FilterSettings().max_duplicate_distance


def distance_of(a: bytes, b: bytes) -> float:
    a_pk, b_pk = (np.frombuffer(one, np.uint8)[None] for one in (a, b))
    return float(distance(a_pk, b_pk)[0])


def share_a_band(a: bytes, b: bytes) -> bool:
    bands_nb = hash_bands(np.frombuffer(a + b, np.uint8).reshape(2, -1))
    return bool((bands_nb[0] == bands_nb[1]).any())


def found_as_copies(a: bytes, b: bytes) -> bool:
    return bool(find_duplicates(["a", "b"], ["x", "y"], Fingerprints([a, b], MAX_DISTANCE)))


# --- the rule against brute force ---


def plain_duplicates(ids: list[str], sources: list[str], near: Callable[[int, int], bool]) -> dict[str, str]:
    kept: list[int] = []
    dropped: dict[str, str] = {}
    for row in sorted(range(len(ids)), key=lambda row: ids[row]):
        repeated = [other for other in kept if sources[other] != sources[row] and near(other, row)]
        if repeated:
            dropped[ids[row]] = ids[repeated[0]]
        else:
            kept.append(row)
    return dropped


def plain_groups(sources: list[str], near: Callable[[int, int], bool]) -> dict[str, str]:
    groups = {source: {source} for source in sources}
    for i, j in combinations(range(len(sources)), 2):
        if near(i, j):
            joined = groups[sources[i]] | groups[sources[j]]
            groups |= dict.fromkeys(joined, joined)
    return {source: min(group) for source, group in groups.items() if len(group) > 1}


@st.composite
def crowds(draw: st.DrawFn) -> tuple[list[str], list[str], list[bytes]]:
    """Clips around a few scenes, near and far, equal ones and whole families; flat scenes share all bands."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scenes = [
        rng.integers(0, 256, FINGERPRINT_BYTES) if rng.random() < 0.5 else np.full(FINGERPRINT_BYTES, 20)
        for _ in range(draw(st.integers(1, 3)))
    ]
    count = draw(st.integers(1, 24))
    prints = []
    for _ in range(count):
        noise = rng.integers(-1, 2, FINGERPRINT_BYTES) * rng.integers(0, 12) + rng.integers(-6, 7)
        prints.append(np.clip(scenes[rng.integers(len(scenes))] + noise, 0, 255).astype(np.uint8).tobytes())
    ids = [f"{number:04x}" for number in rng.permutation(1000)[:count]]
    sources = [f"source-{number}" for number in rng.integers(0, draw(st.integers(1, 12)), count)]
    return ids, sources, prints


@checks(deadline=None, max_examples=60)  # a busy machine is no failure
@given(crowds())
def test_fingerprints_against_brute_force(crowd: tuple[list[str], list[str], list[bytes]]) -> None:
    ids, sources, prints = crowd
    looks = Fingerprints(prints, MAX_DISTANCE)

    def near(i: int, j: int) -> bool:
        return share_a_band(prints[i], prints[j]) and distance_of(prints[i], prints[j]) <= MAX_DISTANCE

    assert find_duplicates(ids, sources, looks) == plain_duplicates(ids, sources, near)
    assert split_groups(ids, sources, looks) == plain_groups(sources, near)


@checks(deadline=None, max_examples=60)  # a busy machine is no failure
@given(st.integers(1, 24), st.integers(1, 8), st.floats(0.9, 0.999), st.integers(0, 2**32 - 1))
def test_features_against_brute_force(count: int, num_sources: int, cosine: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    features_nd = rng.normal(size=(3, 16))[rng.integers(0, 3, count)] + rng.normal(0, 0.2, (count, 16))
    unit_nd = features_nd / np.linalg.norm(features_nd, axis=1, keepdims=True)
    cosines_nn = unit_nd @ unit_nd.T
    if (np.abs(cosines_nn - cosine) < 1e-3).any():
        return  # features are kept in steps: a tie may go either way
    ids = [f"{number:04x}" for number in rng.permutation(1000)[:count]]
    sources = [f"source-{number}" for number in rng.integers(0, num_sources, count)]
    looks = MeanFeatures(features_nd, cosine)

    def near(i: int, j: int) -> bool:
        return bool(cosines_nn[i, j] >= cosine)

    assert find_duplicates(ids, sources, looks) == plain_duplicates(ids, sources, near)
    assert split_groups(ids, sources, looks) == plain_groups(sources, near)


def test_wide_features_are_compared_in_outline_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """More rows than one block of the index, and more directions than the outline has."""
    monkeypatch.setattr("tasks.filters.neighbours._INDEXED_AT_ONCE", 100)
    rng = np.random.default_rng(0)
    features_nd = rng.normal(size=(60, 200))[rng.integers(0, 60, 400)] + rng.normal(0, 0.15, (400, 200))
    unit_nd = features_nd / np.linalg.norm(features_nd, axis=1, keepdims=True)
    cosines_nn = unit_nd @ unit_nd.T
    # Between two pairs, so that the steps in which features are kept decide nothing.
    near_one = np.sort(cosines_nn[(cosines_nn > 0.97) & (cosines_nn < 0.985)])
    widest = int(np.diff(near_one).argmax())
    cosine = float(near_one[widest : widest + 2].mean())
    ids = [f"{number:03d}" for number in range(400)]
    sources = [f"source-{number}" for number in rng.integers(0, 200, 400)]
    looks = MeanFeatures(features_nd, cosine)
    found = find_duplicates(ids, sources, looks)
    assert found == plain_duplicates(ids, sources, lambda i, j: bool(cosines_nn[i, j] >= cosine))
    assert 20 < len(found) < 380
    groups = plain_groups(sources, lambda i, j: bool(cosines_nn[i, j] >= cosine))
    assert split_groups(ids, sources, looks) == groups


def shuffled(looks: Looks, order: np.ndarray) -> Looks:
    if isinstance(looks, MeanFeatures):
        return MeanFeatures(looks.features_nd[order], looks.min_cosine)
    assert isinstance(looks, Fingerprints)
    return Fingerprints([looks.fingerprints[row] for row in order], looks.max_distance)


@pytest.mark.parametrize("kind", ["perceptual", "clip"])
def test_the_order_of_clips_does_not_matter(kind: str) -> None:
    """More clips than one block has, in families around a chain of scenes."""
    rng = np.random.default_rng(0)
    count = 1300
    walk = np.cumsum(rng.integers(-3, 4, (count, FINGERPRINT_BYTES)), axis=0)
    scenes = np.abs(rng.integers(0, 256, FINGERPRINT_BYTES) + walk) % 256
    prints = scenes[rng.integers(0, count // 2, count)].astype(np.uint8)
    features_nd = np.cumsum(rng.normal(0, 0.1, (count, 32)), axis=0)[rng.integers(0, count, count)]
    looks: Looks = (
        Fingerprints([row.tobytes() for row in prints], MAX_DISTANCE)
        if kind == "perceptual"
        else MeanFeatures(features_nd, 0.98)
    )
    ids = [f"{number:05x}" for number in rng.permutation(count)]
    sources = [f"source-{number:04d}" for number in rng.integers(0, count // 3, count)]
    dropped, groups = find_duplicates(ids, sources, looks), split_groups(ids, sources, looks)
    assert 50 < len(dropped) < count and len(groups) > 50
    source_of = dict(zip(ids, sources, strict=True))
    assert all(kept < repeated and kept not in dropped for repeated, kept in dropped.items())
    assert all(source_of[kept] != source_of[repeated] for repeated, kept in dropped.items())
    assert all(groups[source_of[kept]] == groups[source_of[repeated]] for repeated, kept in dropped.items())
    order = rng.permutation(count)
    again = [ids[row] for row in order], [sources[row] for row in order], shuffled(looks, order)
    assert find_duplicates(*again) == dropped
    assert split_groups(*again) == groups


def test_clips_of_one_source_are_no_duplicates_but_lead_to_others() -> None:
    same = bytes(range(192)) * 3
    looks = Fingerprints([same, same, same], MAX_DISTANCE)
    assert find_duplicates(["a", "b", "c"], ["x", "x", "y"], looks) == {"c": "a"}
    assert find_duplicates(["a", "b", "c"], ["y", "x", "x"], looks) == {"b": "a", "c": "a"}
    assert split_groups(["a", "b", "c"], ["x", "x", "y"], looks) == {"x": "x", "y": "x"}
    assert find_duplicates([], [], Fingerprints([], MAX_DISTANCE)) == {}
    assert split_groups([], [], MeanFeatures(np.empty((0, 4)), 0.9)) == {}


def test_the_hash_has_each_cell_of_each_frame_in_one_bit() -> None:
    """So at most eleven cells that differ leave one of its twelve bands whole."""
    one_cell = np.zeros((64, 3, 64, 3), np.uint8)
    one_cell[np.arange(64), :, np.arange(64)] = 255
    bands_nb = hash_bands(one_cell.reshape(64, -1))
    bits = (bands_nb[:, :, None] >> np.arange(16)) & 1
    assert (bits.sum(axis=(1, 2)) == 3).all() and (bits.sum(axis=0) == 1).all()


# --- what the distance means ---


def recoded(frames_nhwc: np.ndarray, crf: int = 23) -> np.ndarray:
    buffer = io.BytesIO()
    encode(buffer, frames_nhwc, 8.0, options={"crf": str(crf), "preset": "veryfast"})
    return np.stack([frame for _, frame in iter_frames(io.BytesIO(buffer.getvalue()))])


def scaled(frames_nhwc: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.stack([cv2.resize(f, (width, height), interpolation=cv2.INTER_AREA) for f in frames_nhwc])


def cropped(frames_nhwc: np.ndarray, part: float) -> np.ndarray:
    height, width = frames_nhwc.shape[1:3]
    y, x = max(1, round(height * part / 2)), max(1, round(width * part / 2))
    return np.stack(
        [cv2.resize(f[y:-y, x:-x], (width, height), interpolation=cv2.INTER_CUBIC) for f in frames_nhwc]
    )


def brighter(frames_nhwc: np.ndarray, levels: int) -> np.ndarray:
    return np.clip(frames_nhwc.astype(np.int16) + levels, 0, 255).astype(np.uint8)


COPIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "re-encoded": recoded,
    "half size": lambda frames: scaled(frames, frames.shape[2] // 2, frames.shape[1] // 2),
    "other aspect": lambda frames: scaled(frames, frames.shape[2], frames.shape[1] * 3 // 4),
    "1 % cropped": lambda frames: cropped(frames, 0.01),
    "2 % cropped": lambda frames: cropped(frames, 0.02),
    "3 levels brighter": lambda frames: brighter(frames, 3),
    "3 levels darker": lambda frames: brighter(frames, -3),
}


def drawn_clips(count: int) -> list[np.ndarray]:
    rngs = [np.random.default_rng(seed) for seed in range(count)]
    return [draw_clip(random_scene(rng), rng) for rng in rngs]


@pytest.fixture(scope="module")
def film_clips(shared_dir: Path) -> dict[str, list[np.ndarray]]:
    """Two clips of each film, as far apart as two shots."""
    starts_s = {
        "bigbuckbunny.mp4": (0.2, 3.0),
        "bikes.mp4": (0.5, 6.0),
        "carphone_pristine.mp4": (0.1,),
        "decord_flipping_a_pancake.mkv": (0.5, 7.0),
        "torchcodec_nasa_13013.mp4": (1.0, 10.0),
    }
    clips: dict[str, list[np.ndarray]] = {}
    for name, starts in starts_s.items():
        path = shared_dir / "media" / "videos" / name
        instants_s = [start_s + np.arange(8) / 8 for start_s in starts]
        clips[name] = [taken.frames_nhwc for taken in frames_at(str(path), instants_s, 128, 128)]
    return clips


@pytest.mark.parametrize("change", COPIES)
def test_copies_of_drawn_clips_are_found(change: str) -> None:
    for frames_nhwc in drawn_clips(12):
        assert found_as_copies(fingerprint(frames_nhwc), fingerprint(COPIES[change](frames_nhwc)))


@pytest.mark.parametrize("change", COPIES)
def test_copies_of_films_are_found(film_clips: dict[str, list[np.ndarray]], change: str) -> None:
    for clips in film_clips.values():
        for frames_nhwc in clips:
            assert found_as_copies(fingerprint(frames_nhwc), fingerprint(COPIES[change](frames_nhwc)))


def test_other_shots_are_no_copies(film_clips: dict[str, list[np.ndarray]]) -> None:
    prints = [fingerprint(frames_nhwc) for clips in film_clips.values() for frames_nhwc in clips]
    for a, b in combinations(prints, 2):
        assert distance_of(a, b) > 2 * MAX_DISTANCE


def test_a_colour_is_a_difference() -> None:
    """The same motion over the same ground: only the shape's colour differs."""
    prints = [
        fingerprint(draw_clip(Scene(colour, "circle", "left"), np.random.default_rng(0)))
        for colour in COLOURS
    ]
    for a, b in combinations(prints, 2):
        assert distance_of(a, b) > MAX_DISTANCE


def test_a_scene_drawn_anew_is_no_copy() -> None:
    """Colour, shape and direction are the same, speed, offset and ground are not; rarely do all of them meet."""
    prints = []
    for scene in (Scene("red", "circle", "left"), Scene("blue", "square", "up")):
        prints.append(
            np.stack(
                [
                    np.frombuffer(fingerprint(draw_clip(scene, np.random.default_rng(seed))), np.uint8)
                    for seed in range(80)
                ]
            )
        )
    for prints_nk in prints:
        i, j = np.triu_indices(len(prints_nk), 1)
        near = distance(prints_nk[i], prints_nk[j]) <= MAX_DISTANCE
        assert near.mean() < 1e-3
