"""Texts that begin within a video: which frames they are of whatever the seam, and what each frame attends to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.quiet_pipeline import quiet_pipeline
from vidrd_model import ModelError, VidRDPipeline
from vidrd_model.blocks import BlockOptions, TransformerBlock
from vidrd_model.frame_times import SEAMS, FrameTimes
from vidrd_model.seams import SeamJoiner
from vidrd_model.timed_prompts import same_length, timed_story

RED, BLUE = "a red circle moving right", "a blue square moving up"
QUICK: dict[str, Any] = {"num_inference_steps": 2, "seed": 7, "output_type": "uint8", "beta": 1.0}


@pytest.fixture(scope="module")
def pipe(small_model: Path) -> VidRDPipeline:
    return quiet_pipeline(small_model)


@pytest.mark.parametrize("seam", SEAMS)
@pytest.mark.parametrize("begins", ["alone", "after", "loop"])
@pytest.mark.parametrize("prompt_frames", [0, 3])
def test_times_are_those_of_the_frames_that_a_seam_shows(seam: str, begins: str, prompt_frames: int) -> None:
    if begins == "loop" and seam == "crossfade":
        with pytest.raises(ModelError, match="cannot close a loop"):
            SeamJoiner(seam, prompt_frames, loop=True)
        return
    times = FrameTimes.of(8, seam, prompt_frames, begins == "loop", begins == "after")
    joiner = SeamJoiner(seam, prompt_frames, begins == "loop")
    shown = []
    if begins == "after":
        given = torch.full((1, 8, 1, 1, 3), -1.0)
        if seam == "crossfade" and prompt_frames:
            given[:, -prompt_frames:] = torch.arange(prompt_frames)[:, None, None, None]
        joiner.push(given)
    for clip in range(3):
        at = torch.tensor(list(times.of_clip(clip)), dtype=torch.float32)
        shown.append(joiner.push(at[None, :, None, None, None].expand(1, 8, 1, 1, 3)))
    held = joiner.finish()
    frames = torch.cat(shown if held is None else [*shown, held], dim=1)[0, :, 0, 0, 0]
    torch.testing.assert_close(frames, torch.arange(len(frames), dtype=torch.float32))
    assert len(frames) == times.of_clip(2).stop


def test_each_frame_has_the_text_that_has_begun() -> None:
    story = timed_story({10: "b", 0: "a", np.int64(13): "c"})
    times = FrameTimes.of(8, "drop-duplicate", 4)
    assert story.of_clip(0, times) == ["a"]
    assert story.of_clip(1, times) == ["a"] * 3 + ["b"] * 3 + ["c"] * 2  # its first frame is shown as frame 7
    assert story.of_clip(2, times) == ["c"] and story.of_clip(0, None) == ["a"]
    assert same_length([["a"], ["b", "c"]]) == [["a", "a"], ["b", "c"]]


def test_a_frame_attends_to_its_own_text_alone() -> None:
    torch.manual_seed(0)
    options = BlockOptions(8, 6, 8, 1e-5, 0.0, True, False, False, "none")
    block = TransformerBlock(16, 2, options).eval()
    tokens, texts = torch.randn(2, 3, 5, 16), torch.randn(6, 4, 6)
    with torch.no_grad():
        together = block(tokens, texts)
        projected = block(tokens, (block.attn2.project(texts),))
        for video in range(2):
            for frame in range(3):
                at = 3 * video + frame
                alone = block(tokens[video, frame][None, None], texts[at : at + 1])
                for found in (together, projected):
                    torch.testing.assert_close(found[video, frame], alone[0, 0])
        same = texts[:1].expand(6, 4, 6)
        torch.testing.assert_close(block(tokens, same), block(tokens, texts[:1].expand(2, 4, 6)))


def test_a_text_changes_within_a_clip_and_not_before(pipe: VidRDPipeline) -> None:
    plain = pipe(RED, 2, **QUICK).frames
    assert np.array_equal(pipe({0: RED}, 2, **QUICK).frames, plain)
    changed = pipe([{0: RED, 12: BLUE}], 2, **QUICK).frames
    assert np.array_equal(changed[:, :8], plain[:, :8]) and not np.array_equal(changed[:, 8:], plain[:, 8:])
    assert np.array_equal(pipe({0: RED, 8: BLUE}, 2, **QUICK).frames, pipe([[RED, BLUE]], 2, **QUICK).frames)
    # Copies, and videos beside it whose text stays.
    both = pipe([RED, {0: RED, 12: BLUE}], 2, num_videos_per_prompt=2, **QUICK | {"seed": [7, 7]}).frames
    for found, wanted in ((both[0], plain[0]), (both[2], changed[0])):
        assert np.abs(found.astype(int) - wanted).max() <= 2
    # Clips at once, of which only one has a text for each frame.
    together = pipe({0: RED, 12: BLUE}, 2, clips_at_once=2, **QUICK).frames
    assert np.abs(together.astype(int) - changed).max() <= 2
    unguided = pipe({0: RED, 12: BLUE}, 2, **QUICK, guidance_scale=1.0).frames
    assert not np.array_equal(unguided, pipe(RED, 2, **QUICK, guidance_scale=1.0).frames)


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ({}, "first text begins at frame 0"),
        ({3: "a"}, "first text begins at frame 0"),
        ({-1: "a", 0: "b"}, "first text begins at frame 0"),
        ({0: "a", 1.5: "b"}, "whole frames"),
        ({0: "a", 4: None}, "made of texts"),
    ],
)
def test_changes_that_begin_nowhere_are_refused(pipe: VidRDPipeline, prompt: Any, said: str) -> None:
    for asked in (prompt, [prompt]):
        with pytest.raises(ModelError, match=said):
            next(pipe.stream(asked, 1, **QUICK))
