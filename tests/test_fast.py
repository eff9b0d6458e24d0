"""`--fast`: what a profile says of sampling in a hurry, over what a model has saved and under what was asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli.app import app
from flows.evaluate.request import EvaluateParams
from flows.evaluate.request import read_request as read_evaluation
from flows.generate.request import GenerateParams, read_request
from flows.model import model_sampling
from flows.profile import load_profile, profile_of_content
from flows.profile_choice import ProfileParams
from storage.registry.model_folder import model_folder
from tasks.errors import RequestError
from tasks.generation.settings import SamplingSettings


def test_it_outdoes_the_model_and_gives_way_to_what_was_asked_for(tmp_home: Path) -> None:
    usual, fast = load_profile("tiny"), load_profile("tiny").fast
    sampling = read_request(GenerateParams(prompt="x", fast=True)).sampling
    for name, value in fast.changes().items():
        assert getattr(sampling.settings, name) == value != getattr(usual.sampling, name)
        assert sampling.sources[name] == "fast"
    assert sampling.sources["alpha"] == "model"
    assert read_request(GenerateParams(prompt="x")).sampling.sources["num_inference_steps"] == "model"
    asked = GenerateParams(prompt="x", fast=True, sampling=SamplingSettings(num_inference_steps=3))
    assert read_request(asked).sampling.settings.num_inference_steps == 3
    for name in ("sampling", "fast"):
        asked = GenerateParams(prompt="x", fast=True, set={f"{name}.num_inference_steps": 5})
        assert read_request(asked).sampling.settings.num_inference_steps == 5


def test_a_profile_that_says_nothing_of_it_is_refused(tmp_home: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('extends = "tiny"\n[fast]\nscheduler = "dpm++"\n')
    extended = read_request(GenerateParams(prompt="x", fast=True, profile=str(own))).sampling
    assert extended.settings.scheduler == "dpm++"
    assert extended.settings.cache_interval == load_profile("tiny").fast.cache_interval
    content = load_profile("tiny").content()
    del content["fast"]
    before = profile_of_content(
        content, {}
    )  # as a model notes it that was trained when there was no such section
    model = model_folder(before.model)
    with pytest.raises(
        RequestError, match=r"^fast: the profile tiny has no section \[fast\]; say how by --set"
    ):
        model_sampling(model, before, ProfileParams(), is_fast=True)
    told = profile_of_content(content, {"fast.num_inference_steps": 6})
    assert model_sampling(model, told, ProfileParams(), is_fast=True).settings.num_inference_steps == 6


def test_an_evaluation_is_fast_and_finished_videos_are_not(tmp_home: Path, small_model: Path) -> None:
    request = read_evaluation(EvaluateParams(model=str(small_model), profile="tiny", fast=True))
    assert request.sampling.sources["cache_interval"] == "fast"  # type: ignore[union-attr]
    with pytest.raises(RequestError, match="leave out fast"):
        read_evaluation(EvaluateParams(videos=small_model, fast=True))


def test_the_answer_says_where_each_setting_is_from(
    tmp_home: Path, tmp_path: Path, small_model: Path
) -> None:
    out = tmp_path / "out.mp4"
    asked = ["generate", "a red circle moving right", "--fast", "--clips", "1", "--out", str(out)]
    done = CliRunner().invoke(app, [*asked, "--model", str(small_model), "--json"])
    assert done.exit_code == 0 and out.is_file(), done.output
    sampled = json.loads(done.stdout)["result"]["sampling"]
    fast = load_profile("tiny").fast.changes()
    assert {name: how["value"] for name, how in sampled.items() if how["from"] == "fast"} == fast
