"""`generate` that goes on from a video or a photo: which frames it takes, what it writes, what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from flows.generate.request import GenerateParams, read_request
from flows.generate.run import run
from tasks.clips.video_io import encode
from tasks.errors import RequestError
from tasks.generation.given_media import GivenVideo, clip_size
from tasks.generation.settings import SamplingSettings
from tests.continued_videos import scenes_and_clips
from vidrd_model.errors import VidrdError

PROMPT = "a red circle moving right"


@pytest.fixture(scope="module")
def video_mp4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty frames at 8 a second, wider than the model's, each of a grey of its own."""
    path = tmp_path_factory.mktemp("given") / "my video.mp4"
    encode(path, [np.full((72, 96, 3), 5 * k, np.uint8) for k in range(20)], 8.0)
    return path


def ask(tiny_profile: Any, **asked: Any) -> dict[str, Any]:
    sampling = {"num_inference_steps": 1, "guidance_scale": 1.0} | asked.pop("sampling", {})
    params = {"prompt": PROMPT, "clips": 1, "model": str(tiny_profile.model), "sampling": sampling} | asked
    return run(read_request(GenerateParams(**params)))


def greys(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return np.stack(frames).mean(axis=(1, 2, 3))


@pytest.mark.parametrize(("fps", "steps"), [(8.0, 1), (4.0, 2), (16.0, 0.5)])
def test_the_end_of_a_video_is_seen_at_the_model_s_rate(
    tiny_profile: Any, video_mp4: Path, fps: float, steps: float
) -> None:
    sampling = SamplingSettings(num_frames=8, fps=fps, prompt_frames=4)
    video = GivenVideo.open(video_mp4, Path(tiny_profile.model), sampling, "continue_from")
    last_nhwc = video.last_clip()
    assert last_nhwc.shape == (8, 64, 64, 3)
    shown = [*video.before_last_clip(), last_nhwc]
    assert len(shown) == 1 + video.num_clips_before and all(len(part) == 8 for part in shown[1:])
    frames = np.concatenate(shown).mean(axis=(1, 2, 3)) / 5
    wanted = 19 - steps * np.arange(len(frames))[::-1]
    assert np.abs(frames - wanted).max() < 0.8 and wanted[0] - steps < 0


def test_the_given_frames_come_first_unless_only_new_ones_are_asked_for(
    tiny_profile: Any, video_mp4: Path, tmp_path: Path
) -> None:
    whole = ask(tiny_profile, continue_from=video_mp4, out=tmp_path / "whole.mp4", clips=2)
    (video,) = whole["videos"]
    assert video["frames"] == 20 + 2 * 7 and video["clips"] == 2
    assert np.abs(greys(tmp_path / "whole.mp4")[:20] - 5 * np.arange(20)).max() < 4
    assert whole["continue_from"]["round_trip_grey_levels"] >= 0
    assert {"noise_mean", "noise_deviation"} < whole["continue_from"].keys()
    new = ask(tiny_profile, continue_from=video_mp4, out=tmp_path / "new.mp4", clips=2, only_new=True)
    assert new["videos"][0]["frames"] == 14
    assert np.abs(greys(tmp_path / "new.mp4") - greys(tmp_path / "whole.mp4")[20:]).max() < 3
    faded = ask(
        tiny_profile, continue_from=video_mp4, out=tmp_path / "faded.mp4", sampling={"seam": "crossfade"}
    )
    assert faded["videos"][0]["frames"] == 20 - 4 + 8
    # What is there is kept, but only if it went on from the same.
    assert ask(tiny_profile, continue_from=video_mp4, out=tmp_path / "new.mp4", clips=2, only_new=True)[
        "videos"
    ][0]["kept"]
    with pytest.raises(RequestError, match="not of this request"):
        ask(tiny_profile, continue_from=video_mp4, out=tmp_path / "new.mp4", clips=2)


def test_a_photo_moves_and_the_story_goes_on(tiny_profile: Any, tmp_path: Path) -> None:
    Image.fromarray(scenes_and_clips(1, 1, 8)[1][0][4]).resize((90, 120)).save(tmp_path / "photo.jpg")
    made = ask(
        tiny_profile,
        image=tmp_path / "photo.jpg",
        then=["a blue square moving up"],
        clips=2,
        out=tmp_path / "p.mp4",
    )
    assert made["videos"][0]["frames"] == 8 + 14 and made["image"]["file"].endswith("photo.jpg")
    with av.open(str(tmp_path / "p.mp4")) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])[:8]
    assert np.abs(np.diff(frames.astype(float), axis=0)).max(axis=(1, 2, 3)).min() > 20


def test_a_model_s_own_size_is_read_from_its_configs(tiny_profile: Any) -> None:
    assert clip_size(Path(tiny_profile.model), SamplingSettings()) == (64, 64)
    assert clip_size(Path(tiny_profile.model), SamplingSettings(width=96)) == (96, 64)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"only_new": True}, "only_new: is for continue_from or image"),
        ({"continue_from": "VIDEO", "image": "VIDEO"}, "image: give either"),
        ({"continue_from": "gone.mp4"}, r"continue_from: .*gone\.mp4: No such file"),
        ({"continue_from": "."}, "continue_from: .*directory"),
        ({"image": "VIDEO"}, "image: my video.mp4"),
        ({"continue_from": "VIDEO", "sampling": {"fps": 2.0}}, "too short: 2.38 s; 8 frames at 2 a second"),
        ({"continue_from": "VIDEO", "sampling": {"method": "freenoise"}}, "method freenoise cannot"),
        ({"continue_from": "VIDEO", "sampling": {"scheduler": "euler"}}, "EulerDiscreteScheduler cannot"),
    ],
)
def test_what_cannot_be_gone_on_from_is_refused(
    tiny_profile: Any, video_mp4: Path, tmp_path: Path, asked: dict[str, Any], said: str
) -> None:
    given = {name: video_mp4 if value == "VIDEO" else value for name, value in asked.items()}
    with pytest.raises(VidrdError, match=said) as caught:
        ask(tiny_profile, out=tmp_path / "v.mp4", **given)
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())
