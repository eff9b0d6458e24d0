"""How drawn videos of the tiny world take another colour by `video` and `strength`, and what reuse does for it."""

from __future__ import annotations

from statistics import mean, median

from tests.bench.tables import print_head, print_row

VIDEOS = 16
FRAMES = 12
STRENGTHS = (0.4, 0.6, 0.7, 0.8, 0.9, 1.0)
ALONE = (0.8, 0.9)


def main() -> None:
    """Prints a row per strength, and one for clips that share no frames and no noise."""
    from flows.profile import load_profile
    from tests.world_edits import drawn_pairs, edits
    from vidrd_model import VidRDPipeline

    profile = load_profile("tiny")
    pipe = VidRDPipeline.from_pretrained(profile.model)
    pipe.set_progress_bar_config(disable=True)
    pairs = drawn_pairs(71, VIDEOS, FRAMES)
    settings = profile.sampling.pipeline_arguments()
    print(f"{VIDEOS} drawn videos of {FRAMES} frames; the text names another colour.\n")
    print_head(
        "strength", "frames shared", "other colour", "shape kept", "object off, px", "seam, usual steps"
    )
    alone = settings | {"prompt_frames": 0, "alpha": 0.0}
    for strength, how in [*((s, settings) for s in STRENGTHS), *((s, alone) for s in ALONE)]:
        found = edits(pipe, pairs, strength, how)
        print_row(
            f"{strength:g}",
            how["prompt_frames"],
            f"{sum(one.is_recoloured for one in found)} of {VIDEOS}",
            f"{sum(one.keeps_shape for one in found)} of {VIDEOS}",
            f"{mean(one.off_px for one in found):.1f}",
            f"{median(one.seam(settings['num_frames']) for one in found):.2f}, "
            f"at most {max(one.seam(settings['num_frames']) for one in found):.2f}",
        )


if __name__ == "__main__":
    main()
