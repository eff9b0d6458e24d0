"""Videos of the embedded model that end where they begin, beside the same ones without."""

from __future__ import annotations

import numpy as np

from tests.bench.tables import print_head, print_row

VIDEOS, LENGTHS = 32, (2, 3)


def main() -> None:
    """Prints a row per length in clips, with and without."""
    from flows.profile import load_profile
    from tasks.tiny.world.drawing import random_scene
    from tests.world_changes import rings
    from vidrd_model import VidRDPipeline

    profile = load_profile("tiny")
    pipe = VidRDPipeline.from_pretrained(profile.model)
    pipe.set_progress_bar_config(disable=True)
    rng = np.random.default_rng(53)
    scenes = [random_scene(rng) for _ in range(VIDEOS)]
    print(
        f"{VIDEOS} videos; the step from the last frame to the first over the usual one: median and largest.\n"
    )
    print_head("clips", "colour and shape kept", "last to first", "above 1.5")
    for loop in (True, False):
        for clips in LENGTHS if loop else LENGTHS[:1]:
            found = rings(pipe, scenes, clips, profile.sampling.pipeline_arguments(), loop)
            steps = np.array([ring.closing_step for ring in found])
            print_row(
                f"{clips}, {'loop' if loop else 'no loop'}",
                f"{sum(ring.kept for ring in found)} of {VIDEOS}",
                f"{np.median(steps):.2f}, {steps.max():.2f}",
                str((steps > 1.5).sum()),
            )


if __name__ == "__main__":
    main()
