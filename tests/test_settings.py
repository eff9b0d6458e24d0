"""One way to set anything: `--set` over a profile's file over those it extends, each key and value answered by name."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.evaluate.request import EvaluateParams
from flows.generate.request import GenerateParams, read_request
from flows.model import asked_sampling
from flows.profile import Profile, load_profile, profile_of_content
from flows.profile_choice import ProfileParams, choose_profile
from flows.settings.assignments import parse_assignment
from flows.settings.keys import leaf_keys
from tasks.errors import RequestError


def file(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def refusal(*asked: Any) -> str:
    with pytest.raises(RequestError) as caught:
        load_profile(*asked)
    assert "\n" not in str(caught.value)
    return str(caught.value)


KEYS = dict(leaf_keys(Profile))


def usual_values(usual: Profile) -> dict[str, Any]:
    """Every value of a profile by its key, as JSON of a deployment has it."""
    values = {}
    for key in KEYS:
        *sections, last = key.split(".")
        holder: Any = usual
        for section in sections:
            holder = getattr(holder, section)
        values[key] = json.loads(holder.model_dump_json(include={last}))[last]
    del values["name"]
    return values


def typed(key: str, value: Any) -> tuple[str, Any]:
    """The same as a person types it."""
    text = "none" if value is None else value if isinstance(value, str) else json.dumps(value)
    return parse_assignment(f"{key}={text}")


@pytest.mark.parametrize("name", ["tiny", "sd21"])
def test_every_value_can_be_set_to_what_it_is(name: str) -> None:
    """As JSON of a deployment, and as the text that a person types."""
    usual = load_profile(name)
    values = usual_values(usual)
    for given_values in (values, dict(typed(*one) for one in values.items())):
        changed = load_profile(name, given_values)
        assert changed.model_dump() == usual.model_dump() and changed.changes == given_values
        assert {changed.origin(key) for key in values} == {"--set"}


@given(st.sampled_from(["tiny", "sd21"]), st.sampled_from([key for key in KEYS if key != "name"]))
def test_a_value_alone_can_be_set_to_what_it_is(name: str, key: str) -> None:
    usual = load_profile(name)
    changed = load_profile(name, dict([typed(key, usual_values(usual)[key])]))
    assert changed.model_dump() == usual.model_dump() and changed.origin(key) == "--set"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("temporal.lr=1e-5", "1e-5"),
        (" a = b = c ", "b = c"),
        ('a="none"', "none"),
        ("a=[1, 2]", [1, 2]),
        ('a={"images": 1}', {"images": 1}),
        ("a={images = 1}", {"images": 1}),
        ("a=", ""),
    ],
)
def test_what_is_typed(text: str, value: Any) -> None:
    assert parse_assignment(text)[1] == value


@pytest.mark.parametrize("text", ["temporal.lr", "=3", "a=[1", "", "temporal.lr:3"])
def test_what_is_no_assignment(text: str) -> None:
    with pytest.raises(RequestError, match=r"^set: "):
        parse_assignment(text)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("temporal.learning_rate", 1, "did you mean temporal.lr? [temporal] has steps,"),
        ("lr", 1, "did you mean temporal.lr or decoder.lr?"),
        ("sampling.seem", "keep", "did you mean sampling.seam?"),
        ("guidance", 3, "did you mean sampling.guidance_scale?"),
        ("evaluation.gate.min_video", 3, "did you mean evaluation.gate.min_videos?"),
        ("temporal", 3, "temporal is a section; [temporal] has"),
        ("zzz", 3, "unknown key 'zzz'; a profile has name, model,"),
        ("temporal.lr.x", 3, "[temporal] has"),
        ("temporal.lr", "fast", "temporal.lr: Input should be a valid number"),
        ("temporal.lr", "-1", "temporal.lr: Input should be greater than 0"),
        ("sampling.seam", "sew", "'crossfade', got 'sew'"),
        ("temporal.batch_size", 7, "batch_size 7 is no multiple of num_workers 2"),
        ("clip", "$NOWHERE/clip", "the variable $NOWHERE is not set"),
        ("name", "x", "--profile"),
        ("extends", "sd21", "--profile"),
    ],
)
def test_a_wrong_assignment_is_answered_with_what_is_known(key: str, value: Any, said: str) -> None:
    line = refusal("tiny", {key: value})
    assert line.startswith("set: ") and said in line, line


def test_a_file_says_only_what_differs(tmp_path: Path) -> None:
    path = file(tmp_path / "mine.toml", 'extends = "tiny"\n[temporal]\nlr = 1e-5\n')
    usual, mine = load_profile("tiny"), load_profile(path)
    assert mine.name == "mine" and mine.is_embedded and mine.source == path
    expected = usual.model_dump() | {"name": "mine"}
    expected["temporal"]["lr"] = 1e-5
    assert mine.model_dump() == expected
    origins = [mine.origin(key) for key in ("temporal.lr", "temporal.steps", "temporal.seed", "model")]
    assert origins == [path, "tiny", "default", "tiny"]
    assert load_profile(path, {"temporal.lr": 3e-5}).origin("temporal.lr") == "--set"


def test_files_extend_files_and_paths_are_those_beside_the_file_that_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a" / "model").mkdir(parents=True)
    file(
        tmp_path / "a" / "base.toml", 'extends = "sd21"\nmodel = "./model"\n[aesthetic]\nhead = "head.pth"\n'
    )
    path = file(
        tmp_path / "b" / "top.toml",
        'extends = "../a/base.toml"\nclip = "../clip"\n[evaluation]\nc3d_weights = "c3d.pth"\n'
        '[temporal]\ncheckpoints = "s3://bucket/x"\n[filter]\nmin_motion = "none"\n',
    )
    monkeypatch.chdir(tmp_path)
    top = load_profile("b/top.toml")
    assert top.model == str(tmp_path / "a" / "model") and top.clip == str(tmp_path / "clip")
    assert top.aesthetic.head == str(tmp_path / "a" / "head.pth")
    assert str(top.evaluation.c3d_weights) == str(tmp_path / "b" / "c3d.pth")
    assert top.temporal.checkpoints == "s3://bucket/x" and top.filter.min_motion is None
    assert not top.is_embedded and top.source == path
    # A hub name stays one, until a folder of that name lies there.
    hub = file(tmp_path / "c.toml", 'extends = "sd21"\nmodel = "org/name"\n')
    assert load_profile(hub).model == "org/name"
    (tmp_path / "org" / "name").mkdir(parents=True)
    assert load_profile(hub).model == str(tmp_path / "org" / "name")


def test_what_is_said_of_a_model_does_not_hold_for_another(tmp_path: Path) -> None:
    other = load_profile(file(tmp_path / "a.toml", 'extends = "tiny"\nmodel = "./other"\n'))
    assert other.model_licence == "unknown" and other.made_for is not None
    assert load_profile("tiny", {"clip": "./other"}).made_for is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('extends = "tinny"', "extends: profile: 'tinny' is neither one of sd21, tiny"),
        ('extends = "mine.toml"', "extends itself"),
        ("extends = 3", "extends: write the name or path of a profile"),
        ('extends = "tiny"\n[temporal]\nlearning_rate = 1\n', "did you mean temporal.lr? [temporal] has"),
        ('extends = "tiny"\n[tempora]\nlr = 1\n', "unknown key 'tempora'"),
        ('extends = "tiny"\ntemporal = 3\n', "temporal is a section"),
        ('extends = "tiny"\n[temporal]\nlr = "x"\n', "temporal.lr: Input should be a valid number"),
        ('name = "mine"\n', "Field required"),
    ],
)
def test_a_wrong_file_is_named_with_its_key(tmp_path: Path, text: str, said: str) -> None:
    path = file(tmp_path / "mine.toml", text)
    line = refusal(path)
    assert line.startswith(f"{path}: ") and said in line, line


def test_a_wrong_value_is_that_of_the_file_that_gives_it(tmp_path: Path) -> None:
    base = file(tmp_path / "base.toml", 'extends = "tiny"\n[temporal]\nlr = -1\n')
    assert refusal(file(tmp_path / "top.toml", 'extends = "base.toml"\n')).startswith(f"{base}: temporal.lr")


def test_a_profile_can_be_made_again_of_its_content(tmp_path: Path) -> None:
    path = file(tmp_path / "mine.toml", 'extends = "sd21"\n[sampling]\nalpha = inf\n')
    mine = load_profile(path, {"filter.min_motion": "none"})
    again = profile_of_content(json.loads(json.dumps(mine.content(), allow_nan=False)), {})
    assert again.model_dump() == mine.model_dump() and again.origin("sampling.alpha") == "noted"


def test_a_file_that_was_given_is_known_by_its_name(tmp_path: Path, tmp_home: Path) -> None:
    path = file(tmp_path / "x.toml", 'name = "mine"\nextends = "tiny"\n[temporal]\nlr = 1e-5\n')
    assert "mine" in refusal("mine")
    choose_profile(ProfileParams(profile=path), None)
    assert load_profile("mine").temporal.lr == 1e-5 and load_profile("mine").source == path
    assert load_profile(file(tmp_path / "y.toml", 'extends = "mine"\n')).temporal.lr == 1e-5
    assert "did you mean mine?" in refusal("minee")
    os.remove(path)
    assert "which is gone" in refusal("mine")
    # The name of a shipped profile stays its own.
    choose_profile(
        ProfileParams(profile=file(tmp_path / "z.toml", 'name = "tiny"\nextends = "sd21"\n')), None
    )
    assert load_profile("tiny").clips.width == 64


def test_what_is_set_comes_before_what_the_model_has_saved(tmp_home: Path) -> None:
    asked = GenerateParams(prompt="x", set={"sampling.beta": "0.5", "sampling.num_inference_steps": 2})
    sampling = read_request(asked).sampling
    assert sampling.settings.beta == 0.5 and sampling.sources["beta"] == "option"
    assert sampling.settings.num_inference_steps == 2 and sampling.sources["alpha"] == "model"
    profile = load_profile("tiny", {"sampling.beta": 0.5})
    options = read_request(asked).sampling.settings.model_copy(update={"beta": 0.7})
    assert asked_sampling(profile, options).beta == 0.7, "an option says it more directly"  # type: ignore[union-attr]
    with pytest.raises(RequestError, match=r"^set: sampling.beta"):
        read_request(GenerateParams(prompt="x", set={"sampling.beta": 2}))


def test_deployments_take_what_commands_take() -> None:
    assert EvaluateParams(set={"evaluation.gate.min_videos": 4}).set == {"evaluation.gate.min_videos": 4}
