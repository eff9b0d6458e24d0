"""When a build with models of Stable Diffusion's size shows its first clips, and how large its batches are.

The models have random weights: an AutoencoderKL of Stable Diffusion's and a ViT-B/32; clips are the sd21 profile's.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from tests.bench.tables import print_head, print_row

SOURCES = 1, 3, 1, 1  # images, short videos, videos in folders of classes, long videos


def main() -> None:
    """Prints when the build's progress line said what, and what the build noted of its pace."""
    from flows.profile import load_profile
    from storage.local.json_files import read_json
    from tasks.ingest.pace import PACE_FILE
    from tasks.tiny.world.corpora import write_tiny_world
    from tests.bench.gpu.build import write_models
    from tests.bench.gpu.size import REAL
    from tests.build_world import build, keep_all

    with tempfile.TemporaryDirectory(prefix="vidrd-bench-") as temporary:
        folder = Path(temporary)
        write_models(folder, REAL)
        own = folder / "own.toml"
        own.write_text(
            f'extends = "sd21"\nmodel = "{folder}"\nclip = "{folder / "clip"}"\n[clips]\nfps = 8.0\n'
        )
        profile = load_profile(str(own))
        corpora = write_tiny_world(folder / "world", 5, *SOURCES, reference=1)
        print_head("seconds", "sources done", "told")
        started_s, told = time.perf_counter(), ""

        def on_progress(done: float, total: int | None, note: str = "") -> None:
            nonlocal told
            clips = note.partition(";")[0]
            if clips != told:
                told = clips
                print_row(f"{time.perf_counter() - started_s:.0f}", f"{done:.1f} of {total}", clips)

        summary = build(corpora, folder / "dataset", keep_all(profile), on_progress=on_progress)
        pace = read_json(folder / "dataset" / PACE_FILE)
        print(
            f"\n{summary.clips} clips; {pace['clip_s']:.1f} s a clip, {pace['batch_clips']} of them a batch"
        )


if __name__ == "__main__":
    main()
