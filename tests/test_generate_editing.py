"""`generate --edit`: as many frames as the video has at the model's rate, what the file says, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from flows.generate.request import GenerateParams, read_request
from flows.generate.run import run
from tasks.clips.video_io import encode
from tasks.errors import RequestError
from vidrd_model.errors import VidrdError

PROMPT = "a red circle moving right"


@pytest.fixture(scope="module")
def video_mp4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty frames at 8 a second, wider than the model's, each of a grey of its own."""
    path = tmp_path_factory.mktemp("given") / "my video.mp4"
    encode(path, [np.full((72, 96, 3), 40 + 8 * k, np.uint8) for k in range(20)], 8.0)
    return path


def ask(tiny_profile: Any, **asked: Any) -> dict[str, Any]:
    sampling = {"num_inference_steps": 20, "guidance_scale": 1.0} | asked.pop("sampling", {})
    params = {"prompt": PROMPT, "model": str(tiny_profile.model), "sampling": sampling} | asked
    return run(read_request(GenerateParams(**params)))


def test_a_video_comes_out_as_long_and_in_its_order(
    tiny_profile: Any, video_mp4: Path, tmp_path: Path
) -> None:
    out = tmp_path / "edited.mp4"
    result = ask(tiny_profile, edit=video_mp4, strength=0.05, out=out)
    (video,) = result["videos"]
    assert (video["frames"], video["clips"], video["fps"]) == (20, 4, 8.0)
    assert result["edit"]["file"] == "my video.mp4" and result["edit"]["strength"] == 0.05
    with av.open(str(out)) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
        said = container.metadata["comment"]
    assert frames.shape == (20, 64, 64, 3) and '"strength": 0.05' in said
    greys = frames.mean(axis=(1, 2, 3))
    assert np.corrcoef(greys, np.arange(20))[0, 1] > 0.8, greys
    assert (tmp_path / "edited.png").exists()
    # The same again is kept; another strength is another video.
    assert ask(tiny_profile, edit=video_mp4, strength=0.05, out=out)["videos"][0]["kept"]
    with pytest.raises(RequestError, match="not of this request"):
        ask(tiny_profile, edit=video_mp4, strength=0.1, out=out)


def test_a_text_may_begin_within_an_edited_video(tiny_profile: Any, video_mp4: Path, tmp_path: Path) -> None:
    asked = {"edit": video_mp4, "strength": 0.05, "out": tmp_path / "changes.mp4"}
    assert ask(tiny_profile, at=["2.3:a blue square"], **asked)["videos"][0]["frames"] == 20
    with pytest.raises(RequestError, match=r"at: 2\.5 s is not before the end: 20 new frames"):
        ask(tiny_profile, at=["2.5:a blue square"], **asked)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"edit": None, "strength": 0.5}, "strength: is for edit"),
        ({"strength": 0.01}, "strength 0.01 of 20 steps is none"),
        ({"clips": 2}, "clips: an edited video is as long as the one that is given"),
        ({"image": "photo.png"}, "image"),
        ({"loop": True}, "loop"),
        ({"sampling": {"seam": "keep"}}, "seam: clips of an edited video share frames"),
        (
            {"sampling": {"prompt_frames": 8}},
            "prompt_frames: clips of an edited video go on; take 0..7, not 8",
        ),
        ({"sampling": {"method": "freenoise"}}, "edit: method freenoise cannot; vidrd can"),
        (
            {"sampling": {"fps": 2.0}},
            "edit: .*my video.mp4 is too short: 2.38 s; 8 frames at 2 a second span 3.50 s",
        ),
        ({"edit": "/nowhere.mp4"}, "edit: /nowhere.mp4: No such file"),
        ({"edit": __file__}, "edit: .*test_generate_editing.py"),
    ],
)
def test_what_cannot_be_edited_is_refused_and_nothing_is_written(
    tiny_profile: Any, video_mp4: Path, tmp_path: Path, asked: dict[str, Any], said: str
) -> None:
    with pytest.raises(VidrdError, match=said):
        ask(tiny_profile, **{"edit": video_mp4, "out": tmp_path / "edited.mp4"} | asked)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("strength", [0.0, 1.5, "much"])
def test_a_strength_lies_above_0_and_up_to_1(strength: Any, video_mp4: Path) -> None:
    with pytest.raises(ValueError, match="strength"):
        GenerateParams(prompt=PROMPT, edit=video_mp4, strength=strength)
