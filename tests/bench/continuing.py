"""Going on from clips of the tiny world, beside the pipeline's own videos and its own clips taken for given ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.bench.tables import print_head, print_row

if TYPE_CHECKING:
    from tests.continued_videos import Continued

VIDEOS, NEW_CLIPS = 64, 2


def main() -> None:
    """Prints a row per kind of first clip."""
    from flows.profile import load_profile
    from tests.continued_videos import continue_clips, own_videos, reconstructed, scenes_and_clips
    from vidrd_model import VidRDPipeline

    profile = load_profile("tiny")
    pipe = VidRDPipeline.from_pretrained(profile.model)
    pipe.set_progress_bar_config(disable=True)
    settings, n = profile.sampling.pipeline_arguments(), profile.sampling.num_frames
    scenes, real_bnhwc = scenes_and_clips(17, VIDEOS, n)
    print(
        f"{VIDEOS} clips of the tiny world and {NEW_CLIPS} new clips after each; figures of the inversion are means, "
        "seams the largest step over the usual one: median, largest, and how many are above 2.\n"
    )
    print_head(
        "first clip", "round trip", "noise", "kept", "boundary", "M-1 to M", "boundary, place", "free, place"
    )
    m = profile.sampling.prompt_frames
    drawn = continue_clips(pipe, scenes, real_bnhwc, NEW_CLIPS, settings)
    print_row("drawn", *_row(drawn, m))
    seen = reconstructed(pipe, real_bnhwc)
    print_row("drawn, seen through the VAE", *_row(_after(drawn, seen), m))
    own = own_videos(pipe, scenes, NEW_CLIPS, settings)
    own_bnhwc = np.stack([video.frames_nhwc[:n] for video in own])
    print_row("its own, as pixels", *_row(continue_clips(pipe, scenes, own_bnhwc, NEW_CLIPS, settings), m))
    print_row("its own, sampled on", *_row(own, m))


def _after(videos: list[Continued], first_bnhwc: np.ndarray) -> list[Continued]:
    """The same new clips behind other frames."""
    from dataclasses import replace

    return [
        replace(video, frames_nhwc=np.concatenate([first, video.new_nhwc]))
        for video, first in zip(videos, first_bnhwc, strict=True)
    ]


def _row(videos: list[Continued], prompt_frames: int) -> list[str]:
    if videos[0].round_trip is None:
        inversion = ["", ""]
    else:
        figures = np.array([(v.round_trip, v.noise_mean, v.noise_deviation) for v in videos])
        trip, mean, deviation = figures.mean(axis=0)
        inversion = [f"{trip:.2f}", f"{mean:.2f}, {deviation:.2f}"]
    seams = [video.seams(prompt_frames) for video in videos]
    cells = []
    for name in seams[0]:
        ratios = np.array([of[name] for of in seams])
        cells.append(f"{np.nanmedian(ratios):.2f}, {np.nanmax(ratios):.2f}, {(ratios > 2).sum()}")
    return [*inversion, f"{sum(video.kept for video in videos)} of {len(videos)}", *cells]


if __name__ == "__main__":
    main()
