"""Shot splitting on films with known transitions: F1 and speed of our detectors beside PySceneDetect as it comes."""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from scenedetect import AdaptiveDetector, ContentDetector, detect

from tasks.clips.reading import iter_decoded
from tasks.clips.resizing import Resizer
from tasks.clips.settings import ClipSettings
from tasks.clips.shots import ShotFinder
from tests.bench.tables import print_head, print_row
from tests.joined_films import KINDS, JoinedFilm, TrueTransition

VIDEOS_DIR = Path(__file__).resolve().parents[2].parent / "shared/media/videos"
TRANSITIONS, PER_FILM = 300, 30
TOLERANCE_FRAMES = 2
WHOLE = {"max_shot_s": 1e6}  # long shots in one piece: a piece's end is no transition

Boundary = tuple[int, int]
"""The first frame after a shot and the first of the next one."""


@dataclass
class Score:
    """What a detector found of the truth; `right` is by kind, `shown` are frames of transitions inside shots."""

    right: Counter[str] = field(default_factory=Counter)
    right_beside: Counter[str] = field(default_factory=Counter)
    false: int = 0
    false_in_flashes: int = 0
    shown: int = 0
    mixed: int = 0
    frames: int = 0
    seconds: float = 0.0

    def f1(self, truth: Counter[str]) -> float:
        """The harmonic mean of precision and recall over all transitions."""
        right = sum(self.right.values())
        return 2 * right / (right + self.false + sum(truth.values()))

    def add(self, found: list[Boundary], truth: list[TrueTransition]) -> None:
        """Compares; a second boundary in one transition is neither right nor false."""
        taken = set()
        for first, stop in found:
            near = [
                number
                for number, true in enumerate(truth)
                if first <= true.stop + TOLERANCE_FRAMES and stop >= true.first - TOLERANCE_FRAMES
            ]
            self.false += not near or truth[near[0]].kind == "flash"
            self.false_in_flashes += bool(near) and truth[near[0]].kind == "flash"
            taken.update(near)
        inside = {frame for first, stop in found for frame in range(first, stop)}
        for number, true in enumerate(truth):
            if true.kind == "flash":
                continue
            if number in taken:
                self.right[true.kind] += 1
                self.right_beside.update(set(true.sides))
            mixed = set(range(true.first, true.stop))
            self.mixed += len(mixed)
            self.shown += len(mixed - inside)


def main(names: list[str] | None = None) -> None:
    """Prints a row per detector, then what of each footage was found."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    if not VIDEOS_DIR.exists():
        print("the shared films are not here")
        return
    chosen = {name: run for name, run in DETECTORS.items() if not names or name in names}
    scores, truth, beside = {name: Score() for name in chosen}, Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory(prefix="vidrd-shots-") as folder:
        for number in range(TRANSITIONS // PER_FILM):
            film = joined_film(number)
            path = Path(folder) / f"{number}.mp4"
            film.write(path)
            truth.update(true.kind for true in film.truth if true.kind != "flash")
            beside.update(side for true in film.truth if true.kind != "flash" for side in set(true.sides))
            for name, run in chosen.items():
                started_s = time.process_time()
                found, frames = run(path)
                scores[name].seconds += time.process_time() - started_s
                scores[name].frames += frames
                scores[name].add(found, film.truth)
            path.unlink()
    _print(scores, truth, beside)


def joined_film(number: int) -> JoinedFilm:
    """One of the films: as many transitions of each kind over all of them."""
    order = np.random.default_rng([5, number]).permutation(PER_FILM)
    return JoinedFilm(VIDEOS_DIR, number, [KINDS[index % len(KINDS)] for index in order])


def _print(scores: dict[str, Score], truth: Counter[str], beside: Counter[str]) -> None:
    kinds = [kind for kind in KINDS if kind in truth]
    print(
        f"{sum(truth.values())} transitions and {TRANSITIONS - sum(truth.values())} flashes, seeded; a boundary within "
        f"{TOLERANCE_FRAMES} frames of a transition has found it.\n"
    )
    print_head(
        "detector", "F1", *(f"{kind} found" for kind in kinds), "false", "in flashes", "shown", "frames/s"
    )
    for name, score in scores.items():
        found = [f"{score.right[kind]} of {truth[kind]}" for kind in kinds]
        shown = f"{100 * score.shown / score.mixed:.0f} %"
        rate = f"{score.frames / score.seconds:.0f}"
        row = [f"{score.f1(truth):.3f}", *found, score.false, score.false_in_flashes, shown, rate]
        print_row(name, *row)
    print("\nFound, of the transitions that have such footage on a side:\n")
    footage = sorted(beside)
    print_head("detector", *footage)
    for name, score in scores.items():
        print_row(name, *(f"{100 * score.right_beside[side] / beside[side]:.0f} %" for side in footage))


def _ours(**settings: object) -> Callable[[Path], tuple[list[Boundary], int]]:
    chosen = ClipSettings.model_validate(WHOLE | settings)

    def run(path: Path) -> tuple[list[Boundary], int]:
        finder, resizer, shots, frames = ShotFinder(chosen), Resizer(path.name), [], 0
        for decoded in iter_decoded(path):
            shots += finder.push(decoded.time_s, resizer.small(decoded))
            frames += 1
        shots += finder.finish()
        return [(one.stop, two.first) for one, two in pairwise(shots)], frames

    return run


def _plain(detector: Callable[[], object]) -> Callable[[Path], tuple[list[Boundary], int]]:
    def run(path: Path) -> tuple[list[Boundary], int]:
        scenes = detect(str(path), detector())
        starts = [start.frame_num for start, _ in scenes[1:]]
        return [(start, start) for start in starts], scenes[-1][1].frame_num if scenes else 0

    return run


DETECTORS: dict[str, Callable[[Path], tuple[list[Boundary], int]]] = {
    "PySceneDetect, content": _plain(ContentDetector),
    "PySceneDetect, adaptive": _plain(AdaptiveDetector),
    "ours, adaptive 1.75 and 9": _ours(),
    "ours, adaptive 3 and 15": _ours(shot_threshold=3.0, shot_min_content=15.0),
    "ours, transnetv2": _ours(shot_detector="transnetv2"),
}

if __name__ == "__main__":
    main(sys.argv[1:])
