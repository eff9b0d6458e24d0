"""The gate beside videos themselves: real clips pass it, and noise, stills and random weights do not.

There is no champion, the state in which a gate has only its floors. CLIP and pixels judge; I3D would take minutes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from flows.profile import Profile
from tasks.evaluation.features import Reading, VideoFeatures, extract_features
from tasks.evaluation.gate import decide
from tasks.evaluation.networks import Networks
from tasks.evaluation.protocols import find_protocol
from tasks.evaluation.reference_clip import cut_reference_clip
from tasks.evaluation.reference_sources import find_sources
from tasks.evaluation.settings import EvaluationSettings, GateSettings
from tasks.evaluation.verdict import Decision
from tasks.generation.asked import AskedVideos
from tasks.generation.generate import stream_batch
from tasks.tiny.world.corpora import write_tiny_world
from vidrd_model import VidRDPipeline

TINY = find_protocol("tiny")
NUM_VIDEOS, NUM_FRAMES, PROMPT_FRAMES = 12, 24, 4
READING = Reading(TINY.num_frames, TINY.frame_repeats, 8, PROMPT_FRAMES)


class World:
    """Real clips of the tiny world (n, 24, 64, 64, 3) with their captions, and the gate that looks at them."""

    def __init__(self, folder: Path, profile: Profile) -> None:
        sizes = {
            "images": 1,
            "short_videos": 1,
            "class_videos": 1,
            "long_videos": 1,
            "reference": 2 * NUM_VIDEOS,
        }
        reference = write_tiny_world(folder, seed=3, **sizes).parent / "reference"
        settings = EvaluationSettings(num_videos=2 * NUM_VIDEOS, long_videos=0)
        cut = [
            cut_reference_clip(
                source, num_frames=8, fps=8.0, width=64, height=64, position=TINY.position, seed=0
            )
            for source in find_sources(reference, TINY, settings)
        ]
        self.networks = Networks(str(profile.clip))
        self.captions = [clip.caption for clip in cut]
        self.clips = np.stack([clip.frames_nhwc for clip in cut])
        self.reference = self.measure(self.clips[NUM_VIDEOS:], self.captions[NUM_VIDEOS:])

    def measure(self, videos: np.ndarray, captions: list[str]) -> VideoFeatures:
        """What the networks and the pixels say; of the first window as of a reference clip's."""
        return extract_features(videos, captions, READING, self.networks, captions)

    def judge(self, videos: np.ndarray, captions: list[str] | None = None) -> Decision:
        """The verdict on these videos of the first captions, without a champion."""
        features = self.measure(videos, captions or self.captions[:NUM_VIDEOS])
        return decide(features, None, self.reference, TINY, GateSettings())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, tiny_profile: Profile) -> World:
    return World(tmp_path_factory.mktemp("junk") / "world", tiny_profile)


def _still(clips: np.ndarray, frames: int = NUM_FRAMES) -> np.ndarray:
    return clips[:NUM_VIDEOS, :1].repeat(frames, axis=1)


def _noise(frames: int) -> np.ndarray:
    grey = np.random.default_rng(0).integers(0, 256, (NUM_VIDEOS, frames, 64, 64, 1), dtype=np.uint8)
    return grey.repeat(3, axis=4)


def _grain(videos: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(1).normal(0, 12, videos.shape)
    return np.clip(videos + noise, 0, 255).astype(np.uint8)


def _panned(clips: np.ndarray) -> np.ndarray:
    """Right pictures that move on evenly and never come back: all that a gate without I3D can ask for."""
    rolls = [np.roll(clips[:NUM_VIDEOS, 0], shift, axis=2) for shift in range(NUM_FRAMES)]
    return np.stack(rolls, axis=1)


JUNK: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "grey noise": lambda _: _noise(NUM_FRAMES),
    "frozen noise": lambda _: _noise(1).repeat(NUM_FRAMES, axis=1),
    "grey": lambda _: np.full((NUM_VIDEOS, NUM_FRAMES, 64, 64, 3), 128, np.uint8),
    "frozen frame": _still,
    "frozen frame with grain": lambda clips: _grain(_still(clips)),
    "one video for all": lambda clips: _panned(clips)[:1].repeat(NUM_VIDEOS, axis=0),
    "videos of other captions": lambda clips: _panned(clips)[::-1],
}


def test_right_pictures_that_move_on_are_accepted(world: World) -> None:
    assert world.judge(_panned(world.clips)).verdict == "promote"


@pytest.mark.parametrize("junk", JUNK)
def test_junk_is_no_first_champion(world: World, junk: str) -> None:
    decision = world.judge(JUNK[junk](world.clips))
    assert decision.verdict == "refuse", decision.reason


@pytest.mark.slow
@pytest.mark.gate
def test_random_weights_are_no_first_champion(world: World, tiny_profile: Profile, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_profile.model, tmp_path / "random")
    pipe = VidRDPipeline.from_pretrained(folder)
    torch.manual_seed(0)
    for module in pipe.unet.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    pipe.unet.save_pretrained(folder / "unet")
    sampling = tiny_profile.sampling.model_copy(update={"num_inference_steps": 2, "seam": "keep"})
    captions = world.captions[: GateSettings().min_videos]
    asked = AskedVideos(folder, captions, list(range(len(captions))), 3, sampling)
    clips = list(stream_batch(asked))
    random = world.measure(np.concatenate(clips, axis=1), captions)
    right = world.measure(_panned(world.clips)[: len(captions)], captions)

    def verdict(candidate: VideoFeatures, champion: VideoFeatures | None) -> str:
        return decide(candidate, champion, world.reference, TINY, GateSettings()).verdict

    assert verdict(random, None) == verdict(random, right) == "refuse"


def test_captions_that_the_clip_does_not_know_leave_nothing_to_judge_by(world: World) -> None:
    """The embedded CLIP knows coloured shapes alone; of these words it knows none that matters."""
    words = ["a corgi on a beach", "the moon over a town", "two chess players", "an old tram", "a waterfall"]
    captions = [words[i % len(words)] for i in range(NUM_VIDEOS)]
    reference = world.measure(world.clips[NUM_VIDEOS:], captions)
    for videos in (_panned(world.clips), _noise(NUM_FRAMES)):
        features = world.measure(videos, captions)
        decision = decide(features, None, reference, TINY, GateSettings())
        assert decision.verdict == "cannot-judge" and "CLIP does not know" in decision.reason
    # Worse than junk: what is also unlike the real clips and cycles, as footage made the champion of once.
    cycling = replace(features, cycling_n=np.full(NUM_VIDEOS, 0.91))
    assert decide(cycling, None, reference, TINY, GateSettings()).verdict == "cannot-judge"
    assert decide(cycling, None, world.reference, TINY, GateSettings()).verdict == "refuse"
