"""Passes of models: no frame more than is needed, and to the last bit the same whatever goes along."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.profile import Profile
from tasks.captions.scoring import CaptionScorer
from tasks.latents.encoder import LatentEncoder, Latents
from tasks.passes import FrameCount, Passes
from tasks.tiny.world.drawing import draw_clip, random_scene

CLIPS, FRAMES = 6, 8
SHAPES = {"clip": None, "parts of clips": 20, "many clips": 24}

Digest = Callable[[list[np.ndarray]], list[bytes]]


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [draw_clip(random_scene(rng), rng) for _ in range(CLIPS - 1)] + [noise(rng)]


def noise(rng: np.random.Generator) -> np.ndarray:
    """What differs by the number of threads as soon as anything does."""
    return rng.integers(0, 256, (FRAMES, 64, 64, 3), np.uint8)


def models(profile: Profile, pass_frames: int | None, threads: int) -> dict[str, Digest]:
    scorer = CaptionScorer(profile.clip, threads, pass_frames)
    encoder = LatentEncoder(profile.model, True, threads, pass_frames)

    def latents(clips: list[np.ndarray]) -> list[bytes]:
        found = [made for made in encoder.encode(clips) if isinstance(made, Latents)]
        assert len(found) == len(clips)
        return [made.mean_nchw.tobytes() + made.std_nchw.tobytes() for made in found]

    return {
        "CLIP": lambda clips: [made.tobytes() for made in scorer.frame_features(clips)],
        "VAE": latents,
    }


@pytest.fixture(scope="module")
def made(tiny_profile: Profile) -> dict[tuple[str, int], dict[str, Digest]]:
    return {
        (shape, threads): models(tiny_profile, pass_frames, threads)
        for shape, pass_frames in SHAPES.items()
        for threads in (1, 2, 3)
    }


@pytest.fixture(scope="module")
def alone(made, clips) -> dict[tuple[str, str], list[bytes]]:
    """What each model says of each clip by itself."""
    return {
        (shape, name): [digest([clip])[0] for clip in clips]
        for shape in SHAPES
        for name, digest in made[shape, 1].items()
    }


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["CLIP", "VAE"])
@settings(max_examples=6, deadline=None, derandomize=True)
@given(
    company=st.lists(st.integers(0, CLIPS - 1), min_size=1, max_size=10),
    threads=st.integers(1, 3),
    torch_threads=st.integers(1, 4),
)
def test_what_a_clip_gets_hangs_on_it_alone(shape, name, made, clips, alone, company, threads, torch_threads):
    before = torch.get_num_threads()
    torch.set_num_threads(torch_threads)
    try:
        got = made[shape, threads][name]([clips[index] for index in company])
        assert torch.get_num_threads() == torch_threads  # it is the caller's
    finally:
        torch.set_num_threads(before)
    assert got == [alone[shape, name][index] for index in company]


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), max_size=9),
    pass_frames=st.none() | st.integers(1, 24),
    threads=st.integers(1, 3),
)
def test_every_frame_goes_through_once(lengths, pass_frames, threads):
    """Frames are numbered, and the model says which it has seen."""
    numbered = (
        np.split(np.arange(sum(lengths)).reshape(-1, 1, 1, 1), np.cumsum(lengths)[:-1]) if lengths else []
    )
    seen: list[int] = []

    def model(frames_nhwc: torch.Tensor) -> torch.Tensor:
        assert pass_frames in (None, len(frames_nhwc))
        seen.extend(frames_nhwc.reshape(-1).tolist())
        return frames_nhwc.reshape(-1, 1) * 2

    count = FrameCount()
    made = Passes(pass_frames, threads, count).run(numbered, model)
    assert [part.reshape(-1).tolist() for part in made] == [
        (2 * part).reshape(-1).tolist() for part in numbered
    ]
    assert set(seen) == set(range(sum(lengths)))
    assert len(seen) == count.needed + count.padding and count.needed == sum(lengths)
    assert count.padding == (-count.needed % pass_frames if pass_frames else 0)


def test_a_whole_batch_goes_through_clip_once(tiny_profile: Profile, clips):
    """Eight clips of eight frames are 64 frames, not 512, whatever shape passes have."""
    eight = [clips[index % CLIPS] for index in range(8)]
    for pass_frames in (None, 32, 64):
        scorer = CaptionScorer(tiny_profile.clip, pass_frames=pass_frames)
        encoder = LatentEncoder(tiny_profile.model, pass_frames=pass_frames)
        seen_by_clip, seen_by_vae = seen_frames(scorer._model.model.visual), seen_frames(encoder._vae.encoder)
        scorer.frame_features(eight)
        encoder.encode(eight)
        assert sum(seen_by_clip) == sum(seen_by_vae) == 64
        assert scorer.frame_count == encoder.frame_count == FrameCount(64, 0)
        scorer.frame_features(eight[:1])
        assert scorer.frame_count.padding == (0 if pass_frames is None else pass_frames - 8)


def seen_frames(network: torch.nn.Module) -> list[int]:
    """The frames of each pass through a network, from now on."""
    seen: list[int] = []
    network.register_forward_hook(lambda module, given, made: seen.append(len(given[0])))
    return seen
