"""Peak memory against the length of a video: one process per length writes a video to an mp4."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench.tables import print_head, print_row

LENGTHS = (1, 3, 10, 50)
STEPS = 4


def main() -> None:
    """Prints a row per length."""
    print(f"The tiny profile's model, {STEPS} steps, the video written to an mp4 as it is sampled.\n")
    print_head("clips", "peak memory of the process")
    for clips in LENGTHS:
        command = [sys.executable, "-m", "tests.bench.memory", str(clips)]
        done = subprocess.run(command, capture_output=True, check=True, text=True)
        print_row(clips, f"{int(done.stdout.split()[-1]) / 2**20:.0f} MiB")


def run(clips: int) -> None:
    """Samples and writes one video; prints the peak of the process in bytes."""
    from flows.profile import load_profile
    from tasks.generation.asked import AskedVideos
    from tasks.generation.generate import stream_batch
    from tests.whole_videos import write_video

    profile = load_profile("tiny")
    sampling = profile.sampling.model_copy(update={"num_inference_steps": STEPS})
    parts = stream_batch(
        AskedVideos(Path(profile.model), ["a red circle moving right"], [7], clips, sampling)
    )
    with tempfile.TemporaryDirectory(prefix="vidrd-bench-") as folder:
        frames = (clip_bnhwc[0] for clip_bnhwc in parts)
        write_video(frames, "a red circle moving right", 7, clips, 8.0, Path(folder) / "video.mp4")
    print(peak_bytes())


def reset_peak() -> int:
    """Starts the kernel's record of this process anew and returns what is resident now, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_bytes()


def peak_bytes() -> int:
    """The most that this process has had resident (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    run(int(sys.argv[1]))
