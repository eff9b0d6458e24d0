"""Shuffled reads for training: random batches of the Lance table against webdataset's shuffled stream, in turn."""

from __future__ import annotations

import io
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.bench.tables import print_head, print_row

ROWS, SHAPE, BATCH = 4096, (8, 4, 32, 32), 16
SHARD_ROWS, SHUFFLE_BUFFER = 512, 1000
ROUNDS = 5


def main() -> None:
    """Prints rows per second of both over the same latents and captions."""
    with tempfile.TemporaryDirectory(prefix="vidrd-bench-") as folder:
        _write(Path(folder))
        rates: dict[str, list[float]] = {
            "Lance, a seeded global shuffle": [],
            "webdataset, a shuffle buffer": [],
        }
        for turn in range(ROUNDS + 1):
            for name, read in zip(rates, (_from_lance, _from_webdataset), strict=True):
                started_s = time.perf_counter()
                rows = sum(len(batch) for batch in read(Path(folder), turn))
                if turn:
                    rates[name].append(rows / (time.perf_counter() - started_s))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    print(
        f"{ROWS} rows of float16 latents {'x'.join(map(str, SHAPE))} and captions, batches of {BATCH}, one process.\n"
    )
    print_head("reader", "rows per second", "over webdataset")
    for name, rate in medians.items():
        print_row(name, f"{rate:.0f}", f"{rate / medians['webdataset, a shuffle buffer']:.1f}")


def _write(folder: Path) -> None:
    import webdataset

    from storage.dataset.tables import write_rows
    from storage.dataset.writer import DatasetWriter, SourceGroup
    from tests.dataset_rows import clip_row, source_row

    rng = np.random.default_rng(0)
    rows = [
        clip_row(f"s{n}", latents=rng.standard_normal(SHAPE).astype(np.float16), num_frames=SHAPE[0])
        for n in range(ROWS)
    ]
    with DatasetWriter(folder / "dataset", SHAPE) as writer:
        for start in range(0, ROWS, 256):
            part = rows[start : start + 256]
            ledger = [source_row(row["source_id"]) for row in part]
            writer.commit(SourceGroup(ledger, [], write_rows(folder / "dataset", "clips", part)))
        writer.finish({})
    with webdataset.ShardWriter(str(folder / "%04d.tar"), maxcount=SHARD_ROWS, verbose=0) as shards:
        for row in rows:
            shards.write(
                {"__key__": row["clip_id"], "npy": row["latents"], "json": {"caption": row["caption"]}}
            )


def _from_lance(folder: Path, seed: int) -> Iterator[np.ndarray]:
    from storage.dataset.clip_dataset import ClipDataset

    dataset = ClipDataset.open(folder / "dataset")
    order = np.random.default_rng(seed).permutation(len(dataset))
    numbers = (order[start : start + BATCH] for start in range(0, len(order), BATCH))
    for table in dataset.clips.take_batches(numbers, ["latents", "caption"]):
        table["caption"].to_pylist()
        yield table["latents"].combine_chunks().to_numpy_ndarray()


def _from_webdataset(folder: Path, seed: int) -> Iterator[np.ndarray]:
    import webdataset

    urls = [str(path) for path in sorted(folder.glob("*.tar"))]
    samples = webdataset.WebDataset(urls, shardshuffle=len(urls), seed=seed).shuffle(SHUFFLE_BUFFER)
    batch: list[np.ndarray] = []
    for sample in samples:
        batch.append(np.load(io.BytesIO(sample["npy"])))
        json.loads(sample["json"])
        if len(batch) == BATCH:
            yield np.stack(batch)
            batch = []


if __name__ == "__main__":
    main()
