"""Writes UCF-101's layout in small: class folders of short AVI files with the names and lists of the original."""

from pathlib import Path

import numpy as np

from tasks.clips.video_io import encode

FPS = 25.0


def write_numbered_video(path: Path, num_frames: int, fps: float = FPS) -> Path:
    """An AVI of MPEG-4, as UCF-101 has, whose frame k has the grey 10 + 3 k: frames tell their numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames_nhwc = [np.full((48, 64, 3), 10 + 3 * index, np.uint8) for index in range(num_frames)]
    quality = {"qmin": "1", "qmax": "2"}
    encode(path, frames_nhwc, fps, codec="mpeg4", container_format="avi", bit_rate=2_000_000, options=quality)
    return path


def numbers_of(frames_nhwc: np.ndarray) -> list[int]:
    """The numbers that frames of `write_numbered_video` show."""
    return np.rint((frames_nhwc.mean(axis=(1, 2, 3)) - 10) / 3).astype(int).tolist()


def write_ucf101(root: Path, train: dict[str, int], test: dict[str, int], num_frames: int = 20) -> Path:
    """Class folders with so many videos per class and split, and the lists of fold 1 beside them."""
    lists: dict[str, list[str]] = {"train": [], "test": []}
    for split, counts in (("test", test), ("train", train)):
        for label, count in counts.items():
            # UCF-101 spells one class otherwise in its files than in its folder.
            stem = label.replace("HandstandPushups", "HandStandPushups")
            for take in range(count):
                group = 1 if split == "test" else 8
                name = f"{label}/v_{stem}_g{group:02d}_c{take + 1:02d}.avi"
                write_numbered_video(root / "UCF-101" / name, num_frames)
                lists[split].append(name)
    folder = root / "ucfTrainTestlist"
    folder.mkdir()
    labels = sorted({*train, *test})
    lines = [f"{name} {labels.index(name.split('/')[0]) + 1}" for name in lists["train"]]
    # The original's lists end their lines as Windows does.
    (folder / "trainlist01.txt").write_text("".join(f"{line}\r\n" for line in lines), newline="")
    (folder / "testlist01.txt").write_text("".join(f"{name}\r\n" for name in lists["test"]), newline="")
    return root / "UCF-101"
