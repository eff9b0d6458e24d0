"""Sampling settings that travel with a model: who wins, where they are saved, and folders from before."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.generate.request import GenerateParams, GenerateRequest, read_request
from flows.model import tell_published
from tasks.errors import RequestError
from tasks.generation.resolve import ResolvedSampling, resolve_sampling, save_sampling, saved_sampling
from tasks.generation.settings import SamplingSettings
from tasks.tiny.models.architecture import SAMPLING
from tests.quiet_pipeline import quiet_pipeline
from tests.saved_settings import with_saved_settings, without_saved_settings
from vidrd_model import ModelError, VidRDPipeline
from vidrd_model.metrics import frame_steps

PROMPT = "a red circle moving right"


@pytest.fixture(scope="module")
def unsaid(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model from before settings were saved."""
    return without_saved_settings(small_model, tmp_path_factory.mktemp("models") / "old")


def _steps(pipe: VidRDPipeline, **arguments: Any) -> int:
    """How many steps a call takes."""
    seen: list[int] = []

    def count(_: Any, step: int, timestep: Any, kwargs: dict[str, Any]) -> None:
        seen.append(step)

    pipe(PROMPT, callback_on_step_end=count, **arguments)
    return len(seen)


def test_option_model_profile_default_in_this_order(unsaid: Path, tmp_path: Path) -> None:
    model = with_saved_settings(
        unsaid,
        tmp_path / "new",
        {"num_inference_steps": 3, "alpha": "inf", "negative_prompt": "blur"},
        seam="crossfade",
    )
    profile = SamplingSettings(
        num_inference_steps=9, alpha=1.0, guidance_scale=2.0, seam="keep", dtype="bfloat16"
    )
    asked = SamplingSettings(alpha=0.5)
    resolved = resolve_sampling(asked, model, profile)
    assert {name: (how["value"], how["from"]) for name, how in resolved.as_dict().items()} == {
        "alpha": (0.5, "option"),
        "num_inference_steps": (3, "model"),
        "negative_prompt": ("blur", "model"),
        "seam": ("crossfade", "model"),
        "guidance_scale": (2.0, "profile"),
        "dtype": ("bfloat16", "profile"),
        **{
            name: (getattr(SamplingSettings(), name), "default")
            for name in SamplingSettings.model_fields.keys()
            - {"alpha", "num_inference_steps", "negative_prompt", "seam", "guidance_scale", "dtype"}
        },
    }
    assert resolve_sampling(None, model, profile).settings.alpha == math.inf
    json.dumps(resolve_sampling(None, model, profile).as_dict(), allow_nan=False)


def test_commands_leave_out_the_repeated_frame_unless_somebody_chose(
    unsaid: Path, small_model: Path, tmp_path: Path
) -> None:
    """A pipeline of which nothing was said shows every frame and saves `keep`, which is no wish."""
    pipe = quiet_pipeline(small_model)
    pipe.save_pretrained(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "model_index.json").read_text())["seam"] == "keep"
    plain = SamplingSettings()
    save_sampling(tmp_path / "saved", plain, (64, 64))
    assert quiet_pipeline(tmp_path / "saved").config.seam == "keep"
    for model in (unsaid, small_model, tmp_path / "saved"):
        resolved = resolve_sampling(None, model, plain)
        assert (resolved.settings.seam, resolved.sources["seam"]) == ("drop-duplicate", "default")
        for source in ("option", "profile"):
            said = SamplingSettings(seam="keep")
            resolved = resolve_sampling(
                *((said, model, plain) if source == "option" else (None, model, said))
            )
            assert (resolved.settings.seam, resolved.sources["seam"]) == ("keep", source)
    save_sampling(tmp_path / "saved", SamplingSettings(seam="crossfade"), (64, 64))
    assert resolve_sampling(None, tmp_path / "saved", plain).sources["seam"] == "model"


def test_an_old_model_is_sampled_as_the_profile_says(unsaid: Path) -> None:
    profile = SamplingSettings(num_inference_steps=9, seam="crossfade")
    resolved = resolve_sampling(None, unsaid, profile)
    assert resolved.settings == profile
    assert set(resolved.sources.values()) == {"profile", "default"}
    assert quiet_pipeline(unsaid).config.sampling == {}
    assert _steps(quiet_pipeline(unsaid), guidance_scale=1.0) == 50  # as published


def test_a_folder_of_no_profile_is_sampled_as_published_and_said_to_be(
    unsaid: Path, tmp_home: Path, tmp_path: Path, tiny_profile: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a stranger has saved by diffusers alone: the embedded profile that stands in for any knows nothing of it."""

    def asked(**how: Any) -> GenerateRequest:
        how = {"prompt": "a", "model": str(unsaid), "out": tmp_path / "a.mp4"} | how
        return read_request(GenerateParams(**how))

    plain = asked(sampling={"beta": 0.3}).sampling
    published = SamplingSettings(beta=0.3)
    assert plain.settings == published and tiny_profile.sampling != SamplingSettings()
    assert plain.sources["num_inference_steps"] == "published" and plain.sources["beta"] == "option"
    tell_published("there", plain)
    assert "there says neither" in (said := capsys.readouterr().err) and "50 steps, guidance 7.5" in said
    for of_a_profile in (asked(profile="tiny"), asked(model=tiny_profile.model)):
        tell_published("there", of_a_profile.sampling)
        assert of_a_profile.sampling.settings.num_inference_steps == 20
    assert asked(set={"sampling.num_inference_steps": 3}).sampling.settings.num_inference_steps == 3
    assert capsys.readouterr().err == ""
    half = asked(model=str(with_saved_settings(unsaid, tmp_path / "half", {"num_inference_steps": 9})))
    assert half.sampling.sources["num_inference_steps"] == "model"
    assert half.sampling.settings.guidance_scale == 7.5


def test_what_a_training_saves_is_what_a_call_uses(unsaid: Path, tmp_path: Path) -> None:
    model = without_saved_settings(unsaid, tmp_path / "trained")
    profile = SamplingSettings(
        num_inference_steps=2,
        guidance_scale=1.0,
        fps=4.0,
        alpha=math.inf,
        beta=1.0,
        seam="drop-duplicate",
        width=32,
    )
    save_sampling(model, profile, (64, 64))
    text = (model / "model_index.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["sampling"]["alpha"] == "inf"
    pipe = quiet_pipeline(model)
    assert _steps(pipe) == 2 and _steps(pipe, num_inference_steps=3) == 3
    plain = pipe(PROMPT, 2, seed=7).frames
    assert plain.shape == (1, 15, 64, 32, 3)
    said = quiet_pipeline(unsaid)(PROMPT, 2, seed=7, **profile.pipeline_arguments() | {"height": 64}).frames
    assert np.array_equal(plain, said)
    pipe.save_pretrained(tmp_path / "again")
    assert saved_sampling(tmp_path / "again") == saved_sampling(model)
    assert saved_sampling(model)["fps"] == 4.0
    other = resolve_sampling(None, tmp_path / "again", SamplingSettings(beta=0.1))
    assert (other.settings.beta, other.sources["beta"]) == (1.0, "model")


def test_the_embedded_model_says_what_its_profile_says(tiny_profile: Any) -> None:
    saved = saved_sampling(Path(tiny_profile.model))
    assert saved == SAMPLING
    of_profile = tiny_profile.sampling.model_dump(include=tiny_profile.sampling.model_fields_set)
    assert {name: saved[name] for name in of_profile} == of_profile
    assert (saved["width"], saved["height"]) == (tiny_profile.clips.width, tiny_profile.clips.height)


@pytest.mark.parametrize("name", ["vidrd", "overlap"])
def test_a_plain_call_takes_what_is_saved(unsaid: Path, tmp_path: Path, name: str) -> None:
    from vidrd_model.baselines import stream_overlap

    saved = {"num_inference_steps": 2, "guidance_scale": 1.0, "num_frames": 6, "prompt_frames": 2}
    pipe = quiet_pipeline(with_saved_settings(unsaid, tmp_path / "model", saved))
    stream = {"vidrd": VidRDPipeline.stream, "overlap": stream_overlap}[name]
    clips = [clip for clip in stream(pipe, PROMPT, 2, seed=7)]
    assert [clip.shape[1] for clip in clips] == [6, 6]
    said = stream(quiet_pipeline(unsaid), PROMPT, 2, seed=7, **saved)
    assert all(np.array_equal(*pair) for pair in zip(clips, said, strict=True))


@pytest.mark.parametrize(
    ("saved", "named"),
    [
        ({"steps": 3}, "steps"),
        ({"num_inference_steps": "many"}, "num_inference_steps"),
        ({"num_inference_steps": 2.5}, "num_inference_steps"),
        ({"beta": math.nan}, "beta"),
        ({"negative_prompt": 3}, "negative_prompt"),
        ({"guidance_scale": -1}, "guidance_scale"),
        (["steps"], "model_index.json"),
    ],
)
def test_damaged_settings_are_refused_by_name(unsaid: Path, tmp_path: Path, saved: Any, named: str) -> None:
    folder = with_saved_settings(unsaid, tmp_path / "model", saved)
    for load, error in (
        (lambda: resolve_sampling(None, folder, SamplingSettings()), RequestError),
        (lambda: quiet_pipeline(folder), ModelError),
    ):
        with pytest.raises(error, match=named) as caught:
            load()
        assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


def test_settings_that_do_not_fit_each_other_say_where_they_come_from(unsaid: Path, tmp_path: Path) -> None:
    folder = with_saved_settings(unsaid, tmp_path / "model", {"num_frames": 4})
    with pytest.raises(RequestError, match="num_frames 4 from model, prompt_frames 5 from option"):
        resolve_sampling(SamplingSettings(prompt_frames=5), folder, SamplingSettings())


@pytest.mark.slow
def test_a_plain_call_of_the_embedded_model_does_not_jump_at_its_seams(tiny_profile: Any) -> None:
    frames = quiet_pipeline(tiny_profile.model)(PROMPT, num_clips=3, seed=7, output_type="uint8").frames[0]
    steps = frame_steps(frames)
    seams = [7, 11, 15, 19]
    assert steps[seams].max() < 2 * np.median(np.delete(steps, seams))


def test_the_result_is_plain(unsaid: Path) -> None:
    resolved = resolve_sampling(None, unsaid, SamplingSettings())
    assert isinstance(resolved, ResolvedSampling)
    assert set(resolved.as_dict()) == set(SamplingSettings.model_fields)
