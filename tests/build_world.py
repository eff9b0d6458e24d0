"""A tiny world small enough to build in seconds, and what a finished build holds, for the build tests."""

from pathlib import Path
from typing import Any

from storage.dataset import ClipDataset
from tasks.tiny_world.corpora import write_tiny_world

BROKEN = {
    "text.png": "decode",
    "uncaptioned.jpg": "read",
    "videos/empty.mp4": "decode",
    "videos/truncated.mp4": "decode",
    "videos/vanished.mp4": "read",
}


def small_world(root: Path) -> Path:
    """The corpora file of 17 good sources and the five broken ones."""
    return write_tiny_world(root, 3, images=6, short_videos=6, class_videos=4, long_videos=1, reference=1)


def all_rows(ref: str | Path) -> dict[str, dict[str, Any]]:
    """Every row of `clips` and `rejected` by its clip_id, latents and video as bytes."""
    dataset = ClipDataset.open(ref)
    columns = ["row", "clip_id", "source_uri", "split", "start_s", "caption", "params", "clip_score"]
    found: dict[str, dict[str, Any]] = {}
    for table in (dataset.clips_table(columns), dataset.rejected_table([*columns, "reason"])):
        numbers = table["row"].to_pylist()
        kept = "reason" not in table.column_names
        videos = dataset.videos(numbers) if kept else dataset.rejected_videos(numbers)
        for row, video in zip(table.drop_columns(["row"]).to_pylist(), videos, strict=True):
            assert row["clip_id"] not in found, "the same clip twice"
            found[row["clip_id"]] = {**row, "video": video}
        if kept and numbers:
            for clip_id, latents in zip(table["clip_id"].to_pylist(), dataset.latents(numbers), strict=True):
                found[clip_id]["latents"] = latents.tobytes()
    return found
