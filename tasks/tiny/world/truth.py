"""What the files of the tiny world really show, and the captions that say something else on purpose."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from tasks.tiny.world.drawing import COLOURS, SHAPES, Scene

TRUTH_FILE = "truth.tsv"


@dataclass(frozen=True)
class Truth:
    """One file, or one span of a long video: the caption it was given and the one that is true.

    `wrong` names what the given caption has wrong (`colour`, `shape` or nothing), `broken` what is
    wrong with the file (or nothing).
    """

    corpus: str
    file: str
    kind: str
    caption_given: str
    caption_true: str
    start_s: float | None = None
    end_s: float | None = None
    wrong: str = ""
    broken: str = ""


def mistaken_scenes(
    scenes: Sequence[Scene], part: float, rng: np.random.Generator
) -> list[tuple[Scene, str]]:
    """Tells what the captions say: the scenes, a part of them with another colour or shape, and which of the two.

    Never only the direction: CLIP scores single frames and cannot see it.
    """
    captioned = [(scene, "") for scene in scenes]
    for index in rng.permutation(len(scenes))[: round(part * len(scenes))]:
        scene = scenes[index]
        if rng.random() < 0.5:
            others = [colour for colour in COLOURS if colour != scene.colour]
            captioned[index] = replace(scene, colour=str(rng.choice(others))), "colour"
        else:
            others = [shape for shape in SHAPES if shape != scene.shape]
            captioned[index] = replace(scene, shape=str(rng.choice(others))), "shape"
    return captioned


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Writes a table with a header; tabs for .tsv, commas for .csv."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",", lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def write_truth(path: Path, rows: Iterable[Truth]) -> None:
    """Writes the truth as a table; times that do not apply are left empty."""
    columns = [field.name for field in fields(Truth)]
    write_table(path, columns, (["" if v is None else v for v in asdict(row).values()] for row in rows))


def read_truth(world: Path) -> list[Truth]:
    """Reads the truth about a tiny world: for reports and tests, never for the build."""
    with (world / TRUTH_FILE).open(encoding="utf-8", newline="") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file, delimiter="\t"))
    for row in rows:
        for column in ("start_s", "end_s"):
            row[column] = float(row[column]) if row[column] else None
    return [Truth(**row) for row in rows]
