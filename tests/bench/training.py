"""Trainings on Ray Train at the tiny profile: how much two workers bring over one, and how long they wait for data."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from flows.profile import load_profile
from tasks.cluster import ensure_ray
from tasks.training.job import TrainingJob
from tasks.training.train import train_part
from tests.bench.tables import print_head, print_row
from tests.training_dataset import write_training_dataset

STEPS, LOG_EVERY, BATCH = 40, 10, 8
ROUNDS = 2


class Listener:
    """Keeps what is told now and then: steps per second and the share of the time spent waiting for data."""

    def __init__(self) -> None:
        self.told: list[dict[str, float]] = []

    def started(self, step: int) -> None: ...

    def figures(self, points: Sequence[tuple[int, dict[str, float]]]) -> None:
        self.told += [figures for _, figures in points if "data_wait" in figures]

    def video(self, step: int, name: str, mp4: bytes) -> None: ...


def main() -> None:
    """Prints a row per way to train, all in turn, one thread per worker."""
    model = load_profile("tiny").model
    ways: dict[tuple[int, int], list[dict[str, float]]] = {(1, 0): [], (2, 0): [], (2, 1): []}
    with tempfile.TemporaryDirectory(prefix="vidrd-bench-") as folder:
        dataset = write_training_dataset(Path(folder, "d"), Path(model), 128, 8, 0)
        ensure_ray(num_cpus=4)
        for turn in range(ROUNDS):
            for workers, readers in ways:
                work_dir = Path(folder, f"{turn}-{workers}-{readers}")
                ways[workers, readers] += _train(dataset, model, work_dir, workers, readers)
    print_head(
        "workers of one thread",
        "processes reading ahead",
        "samples per second",
        "over one worker",
        "waiting for data",
    )
    alone = _samples_per_s(ways[1, 0])
    for (workers, readers), told in ways.items():
        rate, wait = _samples_per_s(told), median(figures["data_wait"] for figures in told)
        print_row(workers, readers, f"{rate:.1f}", f"{rate / alone:.2f}", f"{100 * wait:.2f} %")


def _train(dataset: Path, model: str, work_dir: Path, workers: int, readers: int) -> list[dict[str, float]]:
    profile = load_profile("tiny")
    changes = {
        "steps": STEPS,
        "batch_size": BATCH,
        "num_workers": workers,
        "threads": 1,
        "loader_workers": readers,
        "log_every": LOG_EVERY,
        "checkpoint_every": STEPS,
        "heldout_samples": 8,
        "sample_every": None,
    }
    listener = Listener()
    settings = profile.temporal.model_copy(update=changes)
    train_part(TrainingJob(str(dataset), model, settings, profile.sampling), work_dir, listener)
    return listener.told[1:]  # the first steps pay for what is set up lazily


def _samples_per_s(told: Sequence[dict[str, float]]) -> float:
    return BATCH * median(figures["steps_per_s"] for figures in told)
