"""Each of VidRD's failures, planted in true videos, raises its own number and leaves the others low.

The drawn videos are of 16 frames, two clips; the real ones of 24, three clips of 8 frames with 4 prompt frames.
"""

from collections.abc import Callable
from functools import lru_cache
from itertools import islice

import cv2
import numpy as np
import pytest

from tasks.clips.video_io import iter_frames
from tasks.filters.signals import clip_signals
from tasks.tiny.world.drawing import draw_clip, random_scene
from tests.i3d_files import SHARED, shared
from vidrd_model.metrics import cycling, frozen_share, motion_amount, pixel_consistency, seam_ratios

N, M = 8, 4
REAL = ("bigbuckbunny.mp4", "bikes.mp4", "carphone_pristine.mp4", "decord_flipping_a_pancake.mkv")
VIDEOS = [*range(6), *REAL]


@lru_cache
def true_video(which: int | str) -> np.ndarray:
    """A drawn video by its seed, or a real one by its name, at 128x128 and every third frame."""
    if isinstance(which, int):
        rng = np.random.default_rng(which)
        return draw_clip(random_scene(rng), rng, num_frames=2 * N)
    frames = islice(iter_frames(shared(SHARED / "media" / "videos" / which)), 0, 9 * N, 3)
    return np.stack([cv2.resize(frame, (128, 128), interpolation=cv2.INTER_AREA) for _, frame in frames])


@pytest.fixture(params=VIDEOS)
def video(request: pytest.FixtureRequest) -> np.ndarray:
    return true_video(request.param).copy()


def repeated_forwards(video: np.ndarray) -> np.ndarray:
    return np.concatenate([video[:N]] * (len(video) // N))


def repeated_backwards(video: np.ndarray) -> np.ndarray:
    """To and fro, as pure noise reversion does it."""
    there = video[:N]
    return np.concatenate([there if clip % 2 == 0 else there[::-1] for clip in range(len(video) // N)])


def frozen(video: np.ndarray) -> np.ndarray:
    return np.repeat(video[:1], len(video), axis=0)


def tinted_from(video: np.ndarray, first: int) -> np.ndarray:
    """A jump before frame `first`: all later frames are 60 levels from where they were."""
    jumped = video.astype(np.int16)
    jumped[first:] += np.where(jumped[first:] < 128, 60, -60)
    return jumped.astype(np.uint8)


def numbers(video: np.ndarray) -> tuple[float, float, float, float]:
    """Cycling, frozen share, boundary, guided to free."""
    ratios, cycles = seam_ratios(video, N, M), cycling(video, N, M)
    assert ratios is not None and cycles is not None
    return cycles, frozen_share(video), ratios.boundary, ratios.guided_to_free


def test_true_videos_show_none(video: np.ndarray) -> None:
    cycles, still, boundary, guided = numbers(video)
    assert cycles <= 0.25  # one frame of a drawn video: a shape that is leaving looks like one that enters
    assert still <= 0.3  # nothing may be in the picture any more
    assert max(boundary, guided) < 3


@pytest.mark.parametrize(
    ("repeat", "least"), [(repeated_forwards, 0.5), (repeated_backwards, 0.9)], ids=["forwards", "backwards"]
)
def test_repeats_show_as_cycling_only(
    video: np.ndarray, repeat: Callable[[np.ndarray], np.ndarray], least: float
) -> None:
    cycles, still, _, guided = numbers(repeat(video))
    assert cycles >= least
    assert still <= 0.35
    assert guided < 3  # a forward repeat does jump at the boundary


def test_an_inexact_repeat_counts_and_a_far_one_does_not(video: np.ndarray) -> None:
    """Generated repeats are no copies: half a usual step away they count, three steps away they are other content."""
    repeated = repeated_backwards(video[: 2 * N]).astype(np.float32)
    step = motion_amount(repeated)
    for steps_away, low, high in ((0.5, 0.8, 1.0), (3.0, 0.0, 0.05)):
        shifted = repeated.copy()
        later = shifted[N:]
        later += np.where(later < 128, 1, -1) * steps_away * step
        assert low <= numbers(np.round(shifted).astype(np.uint8))[0] <= high


def test_a_frozen_video_shows_as_frozen_and_its_cycling_is_not_hidden(video: np.ndarray) -> None:
    assert numbers(frozen(video))[:2] == (1, 1)
    assert pixel_consistency(frozen(video)) == 1 > pixel_consistency(video)


def test_the_later_the_freeze_the_less_of_it() -> None:
    moving = true_video(0)[2:14]  # the shape is in all of these
    shares = []
    for kept in (12, 9, 6, 3, 1):
        shares.append(frozen_share(moving[np.minimum(np.arange(12), kept - 1)]))
    assert shares == pytest.approx([0, 3 / 11, 6 / 11, 9 / 11, 1])


def test_a_jump_at_the_boundary_shows_there_only(video: np.ndarray) -> None:
    cycles, still, boundary, guided = numbers(tinted_from(video, N))
    assert boundary > 3
    assert cycles <= 0.25 and still <= 0.3 and guided < 3


def test_a_jump_after_the_prompt_frames_shows_there_only(video: np.ndarray) -> None:
    cycles, still, boundary, guided = numbers(tinted_from(video, N + M))
    assert guided > 3
    assert cycles <= 0.25 and still <= 0.3 and boundary < 3


@pytest.mark.parametrize("prompt_frames", [0, 1, 4])
def test_prompt_frames_played_backwards_are_no_cycling(video: np.ndarray, prompt_frames: int) -> None:
    """VidRD's own layout: the last frames once more in reverse, then motion goes on as it did before."""
    clips, at = [video[:N]], N
    while at + N - prompt_frames <= len(video):
        prompts = clips[-1][::-1][:prompt_frames]
        clips.append(np.concatenate([prompts, video[at : at + N - prompt_frames]]))
        at += N - prompt_frames
    assert cycling(np.concatenate(clips), N, prompt_frames) <= 0.15


def test_frozen_is_what_the_datasets_filter_calls_so(video: np.ndarray) -> None:
    stuttering = video[np.arange(len(video)) // 2 * 2]
    for frames in (video, stuttering, frozen(video)):
        assert frozen_share(frames) == pytest.approx(clip_signals(frames).frozen, abs=1e-6)


def test_pixel_consistency_is_the_mean_step_from_white() -> None:
    frames = np.array([0, 51, 51], np.uint8).reshape(3, 1, 1, 1).repeat(3, axis=3)
    assert pixel_consistency(frames) == pytest.approx(0.9)


def test_one_clip_and_only_prompt_frames_cannot_cycle() -> None:
    video = true_video(0)
    assert cycling(video[:N], N, M) is None
    assert cycling(video, N, N) is None
    with pytest.raises(ValueError, match="not whole clips"):
        cycling(video[:-1], N, M)
    for number in (frozen_share, pixel_consistency):
        with pytest.raises(ValueError, match="two frames"):
            number(video[:1])
