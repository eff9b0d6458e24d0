"""The pipeline as its user meets it: streams, stories, seams, callbacks, settings that are saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler

from tests.quiet_pipeline import quiet_pipeline
from vidrd_model import ModelError, VidRDPipeline
from vidrd_model.baselines import stream_freenoise, stream_overlap
from vidrd_model.seams import SeamJoiner

PROMPTS = ["a red circle moving right", "a blue square moving up"]
STEPS_3: dict[str, Any] = {"num_inference_steps": 3, "guidance_scale": 4.0, "seed": 7}
QUICK: dict[str, Any] = STEPS_3 | {"output_type": "uint8"}
FIVE_STEPS: dict[str, Any] = QUICK | {"num_inference_steps": 5, "beta": 0.4}


@pytest.fixture(scope="module")
def pipe(small_model: Path) -> VidRDPipeline:
    """A pipeline of a model that knows no scene: what holds here holds whatever the frames show."""
    return quiet_pipeline(small_model)


def test_clips_come_one_by_one_and_are_the_whole_video(pipe: VidRDPipeline) -> None:
    stream = pipe.stream(PROMPTS, 3, **QUICK)
    first = next(stream)
    assert first.shape == (2, 8, 16, 16, 3) and first.dtype == np.uint8
    whole = pipe(PROMPTS, 3, **QUICK).frames
    assert np.array_equal(np.concatenate([first, *stream], axis=1), whole)


def test_a_story_changes_its_text_and_the_last_one_stays(pipe: VidRDPipeline) -> None:
    plain = pipe(PROMPTS[0], 3, **QUICK).frames
    assert np.array_equal(pipe([[PROMPTS[0]] * 3], 3, **QUICK).frames, plain)
    story = pipe([[PROMPTS[0], PROMPTS[1]]], 3, **QUICK).frames
    assert np.array_equal(story[:, :8], plain[:, :8])
    assert np.array_equal(story, pipe([[PROMPTS[0], PROMPTS[1], PROMPTS[1]]], 3, **QUICK).frames)
    assert not np.array_equal(story[:, 8:16], plain[:, 8:16])


@pytest.mark.parametrize(
    ("seam", "frames"), [("keep", 24), ("drop-duplicate", 22), ("drop-prompt-frames", 16), ("crossfade", 16)]
)
def test_seams_show_the_frames_they_say(pipe: VidRDPipeline, seam: str, frames: int) -> None:
    kept = pipe(PROMPTS, 3, **QUICK).frames
    joined = pipe(PROMPTS, 3, seam=seam, **QUICK).frames
    assert joined.shape[1] == frames
    if seam == "crossfade":
        assert np.array_equal(joined[:, :4], kept[:, :4])
        weight = np.array([0.2, 0.4, 0.6, 0.8])[:, None, None, None]
        blended = kept[:, 4:8] * (1 - weight) + kept[:, 8:12] * weight
        assert np.abs(joined[:, 4:8] - blended).max() <= 0.51
        assert np.array_equal(joined[:, -4:], kept[:, -4:])
    else:
        dropped = {"keep": 0, "drop-duplicate": 1, "drop-prompt-frames": 4}[seam]
        shown = [i for i in range(24) if i < 8 or i % 8 >= dropped]
        assert np.array_equal(joined, kept[:, shown])


def test_a_loop_ends_in_the_frame_that_it_begins_with(pipe: VidRDPipeline) -> None:
    settings = QUICK | {"beta": 1.0, "alpha": float("inf")}
    plain, looped = (pipe(PROMPTS, 3, loop=loop, seam="keep", **settings).frames for loop in (False, True))
    assert np.array_equal(looped[:, :16], plain[:, :16])
    apart = [np.abs(video[:, -1].astype(int) - video[:, 0]).mean() for video in (plain, looped)]
    assert apart[1] < apart[0] / 3
    at_once = pipe(PROMPTS, 3, loop=True, seam="keep", clips_at_once=3, **settings).frames
    assert np.abs(at_once.astype(int) - looped).max() <= 2
    # Each clip comes after another one, the first after the last.
    for seam, dropped in (("drop-duplicate", 1), ("drop-prompt-frames", 4)):
        shown = [frame for frame in range(24) if frame % 8 >= dropped]
        joined = pipe(PROMPTS, 3, loop=True, seam=seam, clips_at_once=3, **settings).frames
        assert np.array_equal(joined, at_once[:, shown]), seam


def test_what_cannot_be_a_loop_is_refused(pipe: VidRDPipeline) -> None:
    after = pipe.invert(np.zeros((8, 64, 64, 3), np.uint8), PROMPTS[0], num_inference_steps=1)
    for settings, said in (
        ({"num_clips": 1}, "a loop needs at least 2 clips"),
        ({"after": after}, "either loop or after"),
        ({"seam": "crossfade"}, "seam 'crossfade' cannot close a loop"),
        ({"prompt_frames": 8}, r"prompt_frames in 1\.\.7"),
    ):
        with pytest.raises(ModelError, match=said):
            next(pipe.stream(PROMPTS[0], **{"num_clips": 2, "loop": True} | settings))


def test_without_prompt_frames_every_seam_keeps_everything() -> None:
    clips = [torch.full((1, 4, 2, 2, 3), value, dtype=torch.uint8) for value in (10, 20)]
    for seam in ("keep", "drop-duplicate", "drop-prompt-frames", "crossfade"):
        joiner = SeamJoiner(seam, 0)
        assert sum(joiner.push(clip).shape[1] for clip in clips) == 8 and joiner.finish() is None


def test_callbacks_see_and_change_and_end_a_video(pipe: VidRDPipeline) -> None:
    seen: list[tuple[int, int]] = []

    def watch(pipeline: Any, step: int, timestep: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        assert pipeline is pipe and kwargs["latents"].shape == (1, 4, 8, 4, 4)
        seen.append((kwargs["clip"], step))
        if seen[-1] == (1, 1):
            pipe.interrupt = True
        return {}

    frames = pipe(PROMPTS[0], 3, callback_on_step_end=watch, **QUICK).frames
    assert seen == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    assert np.array_equal(frames, pipe(PROMPTS[0], 1, **QUICK).frames)  # also: the next call runs again

    def blank(pipeline: Any, step: int, timestep: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        return {"latents": torch.zeros_like(kwargs["latents"])}

    frames = pipe(PROMPTS[0], 1, callback_on_step_end=blank, **STEPS_3).frames
    assert np.array_equal(frames, pipe.decode_latents(torch.zeros(1, 4, 8, 4, 4)).numpy())


def test_there_is_a_progress_bar_for_each_clip(small_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    VidRDPipeline.from_pretrained(small_model)(PROMPTS[0], 2, **QUICK)
    assert capsys.readouterr().err.count("| 0/3 ") == 2


def test_settings_are_saved_with_the_model(small_model: Path, tmp_path: Path) -> None:
    """Quirks Q2, Q3, Q4 and Q7 have names, and the model remembers them."""
    pipe = VidRDPipeline.from_pretrained(small_model)
    for name, parameter in pipe.vae.named_parameters():
        if "temp_" in name:
            torch.nn.init.normal_(parameter, std=0.1)  # as if trained: the shipped decoder's are fresh
    settings = {
        "temporal_decoder": False,
        "seam": "drop-duplicate",
        "full_prompt_noise": "mixed",
        "noise_deviation": "variance",
    }
    VidRDPipeline(**pipe.components, **settings).save_pretrained(tmp_path / "model")
    loaded = quiet_pipeline(tmp_path / "model")
    assert {name: loaded.config[name] for name in settings} == settings
    assert loaded(PROMPTS[0], 2, **QUICK).frames.shape[1] == 15
    latents = torch.randn(1, 4, 8, 4, 4, generator=torch.Generator().manual_seed(0))
    alone = loaded.decode_latents(latents)
    frame_by_frame = [loaded.decode_latents(latents[:, :, i : i + 1]) for i in range(8)]
    torch.testing.assert_close(alone, torch.cat(frame_by_frame, dim=1), atol=1 / 255, rtol=0)  # quirk Q2
    assert (pipe.decode_latents(latents) - alone).abs().max() > 3 / 255


@pytest.fixture(scope="module")
def scene_bnhwc(tiny_profile: Any) -> np.ndarray:
    return quiet_pipeline(tiny_profile.model)(PROMPTS[0], 2, **FIVE_STEPS).frames.astype(int)


def test_another_scheduler_shows_the_same_scene(tiny_profile: Any, scene_bnhwc: np.ndarray) -> None:
    pipe = quiet_pipeline(tiny_profile.model)
    pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    frames = pipe(PROMPTS[0], 2, **FIVE_STEPS).frames
    assert frames.shape == scene_bnhwc.shape and np.abs(frames - scene_bnhwc).mean() < 30


@pytest.mark.slow
@pytest.mark.gate
@pytest.mark.parametrize(("dtype", "apart"), [(torch.float16, 1), (torch.bfloat16, 6)])
def test_another_precision_shows_the_same_scene(
    tiny_profile: Any, scene_bnhwc: np.ndarray, dtype: torch.dtype, apart: float
) -> None:
    frames = quiet_pipeline(tiny_profile.model, dtype=dtype)(PROMPTS[0], 2, **FIVE_STEPS).frames
    assert np.abs(frames - scene_bnhwc).mean() < apart


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"seed": [1, 2, 3]}, "2 prompts need as many seeds, got 3"),
        ({"seam": "sew"}, "seam must be one of"),
        ({"height": 34}, "height must be a multiple of 4"),
        ({"prompt_frames": 9}, "prompt_frames"),
        ({"beta": 2.0}, "beta"),
        ({"output_type": "video"}, "output_type must be one of np, pil, pt, latent, uint8, not 'video'"),
        ({"output_type": "latent", "seam": "crossfade"}, "seam 'crossfade' joins frames"),
        ({"negative_prompt": ["blur"]}, "2 videos take one negative_prompt or as many, got 1"),
        ({"negative_prompt": ["blur"] * 3}, "2 videos take one negative_prompt or as many, got 3"),
        ({"negative_prompt": []}, "2 videos take one negative_prompt or as many, got 0"),
        ({"negative_prompt": ["blur", None]}, "negative_prompt must be made of texts, not None"),
        ({"negative_prompt": 7}, "negative_prompt must be a text or a list of texts, not 7"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_before_any_work(
    pipe: VidRDPipeline, arguments: dict[str, Any], named: str
) -> None:
    with pytest.raises(ModelError, match=named):
        next(pipe.stream(PROMPTS, 1, **arguments))
    for prompt, what in (
        ([[]], "without any prompt"),
        ([], "without any prompt"),
        (None, "prompt must be a text or a list of texts, not None"),
        ([PROMPTS[0], 3], "prompt must be a text or a list of texts, not 3"),
        ([[PROMPTS[0], None]], "prompt must be made of texts, not None"),
    ):
        with pytest.raises(ModelError, match=what):
            next(pipe.stream(prompt, 1))
    with pytest.raises(ModelError, match="num_clips must be at least 1"):
        pipe(PROMPTS[0], 0)


def test_seeds_may_be_numbers_of_numpy(pipe: VidRDPipeline) -> None:
    seeds = np.array([7, 8])
    frames = pipe(PROMPTS, 1, **QUICK | {"seed": seeds}).frames
    assert np.array_equal(frames, pipe(PROMPTS, 1, **QUICK | {"seed": [7, 8]}).frames)
    assert np.array_equal(pipe(PROMPTS[1], 1, **QUICK | {"seed": seeds[1]}).frames[0].shape, frames[1].shape)


@pytest.mark.parametrize("name", ["vidrd", "overlap", "freenoise"])
def test_each_video_has_its_own_negative_prompt(pipe: VidRDPipeline, name: str) -> None:
    stream = {"vidrd": VidRDPipeline.stream, "overlap": stream_overlap, "freenoise": stream_freenoise}[name]
    negatives = ["a blue circle", "a red square"]

    def frames(prompt: Any, negative: Any) -> np.ndarray:
        clips = stream(pipe, prompt, 2, negative_prompt=negative, **QUICK)
        return np.concatenate(list(clips), axis=1).astype(int)

    together = frames(PROMPTS, negatives)
    for video, prompt in enumerate(PROMPTS):
        # Another batch size adds in another order: the last bit of a grey level may differ.
        assert np.abs(together[video] - frames(prompt, negatives[video])[0]).max() <= 2
    other = frames(PROMPTS[0], negatives[1])
    assert np.abs(together[0] - other[0]).max() > 10
    assert np.array_equal(frames(PROMPTS[0], None), frames(PROMPTS[0], ""))
    assert np.array_equal(other, frames([PROMPTS[0]], [negatives[1]]))


def test_words_that_the_text_encoder_never_reads_are_named(
    pipe: VidRDPipeline, caplog: pytest.LogCaptureFixture
) -> None:
    long = PROMPTS[0] + " red" * 12 + " left"
    pipe([[PROMPTS[0], long]], 1, negative_prompt=long, **QUICK)
    assert [record.getMessage() for record in caplog.records] == [
        f"{name} is longer than the text encoder reads; these words are lost: {long.split(maxsplit=14)[14]}"
        for name in ("prompt", "negative_prompt")
    ]
    caplog.clear()
    next(stream_overlap(pipe, long, 1, **QUICK))
    assert "these words are lost" in caplog.text
