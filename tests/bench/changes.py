"""Where the colour of the embedded model's videos changes when the text does so at a frame."""

from __future__ import annotations

from collections import Counter

from tests.bench.tables import print_head, print_row

VIDEOS = 8
FRAMES = (6, 10, 12, 4, 8)


def main() -> None:
    """Prints a row per frame of a video of two clips at which the text changes."""
    from flows.profile import load_profile
    from tests.world_changes import changed_at, recoloured
    from vidrd_model import VidRDPipeline

    profile = load_profile("tiny")
    pipe = VidRDPipeline.from_pretrained(profile.model)
    pipe.set_progress_bar_config(disable=True)
    pairs = recoloured(61, VIDEOS)
    print(
        f"{VIDEOS} videos of 2 clips of 8 frames, every frame kept; the text names another colour from a frame on.\n"
    )
    print_head("asked", "at that frame", "where else, of how many", "not once and for good")
    for frame in FRAMES:
        found = Counter(changed_at(pipe, pairs, frame, 2, profile.sampling.pipeline_arguments()))
        at, never = found.pop(frame, 0), found.pop(None, 0)
        others = ", ".join(f"{other}: {count}" for other, count in sorted(found.items()))  # type: ignore[type-var]
        print_row(frame, f"{at} of {VIDEOS}", others or "nowhere", never)


if __name__ == "__main__":
    main()
