"""Which noise a video gets: its own for each clip, another for each clip's steps, whatever it is sampled beside."""

from __future__ import annotations

import itertools

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vidrd_model.noise import clip_noise, step_generators

SHAPE = (4, 8, 2, 2)
videos = st.lists(
    st.tuples(st.integers(0, 2**63 - 1), st.text(max_size=12)), min_size=1, max_size=4, unique=True
)


def first_noise(video: tuple[int, str], clip: int) -> torch.Tensor:
    """What a clip of a video begins with, alone in its batch."""
    seed, prompt = video
    return clip_noise([seed], [prompt], clip, SHAPE)[0]


def step_noise(video: tuple[int, str], clip: int) -> torch.Tensor:
    """What a scheduler adds in the first step of that clip."""
    seed, prompt = video
    (generator,) = step_generators([seed], [prompt], clip)
    return torch.randn(SHAPE, generator=generator)


def alike(a: torch.Tensor, b: torch.Tensor) -> float:
    """The cosine of two draws: 1 for the same, within five deviations, 0.5, of nothing for draws of their own."""
    return float(torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0))


@settings(max_examples=40, deadline=None)
@given(videos, st.sampled_from([(0, 1), (1, 2), (0, 10), (1, 11)]))
def test_no_two_uses_share_a_draw(together: list[tuple[int, str]], clips: tuple[int, int]) -> None:
    """Noise of the steps that were that of the beginning would be added to itself, and the frames would grow pale."""
    draws = [draw(video, clip) for video in together for clip in clips for draw in (first_noise, step_noise)]
    for a, b in itertools.combinations(draws, 2):
        assert abs(alike(a, b)) < 0.5


@settings(max_examples=40, deadline=None)
@given(videos, st.integers(0, 20))
def test_a_video_has_the_same_noise_in_any_company(together: list[tuple[int, str]], clip: int) -> None:
    seeds, prompts = [seed for seed, _ in together], [prompt for _, prompt in together]
    noise_bcnhw = clip_noise(seeds, prompts, clip, SHAPE)
    generators = step_generators(seeds, prompts, clip)
    assert noise_bcnhw.shape == (len(together), *SHAPE) and noise_bcnhw.dtype == torch.float32
    for row, video in enumerate(together):
        assert torch.equal(noise_bcnhw[row], first_noise(video, clip))
        assert torch.equal(torch.randn(SHAPE, generator=generators[row]), step_noise(video, clip))
