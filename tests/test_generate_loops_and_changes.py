"""`generate` with a loop, and with texts that begin at a second: what is written, told and refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from flows.dry_run import would
from flows.generate.request import GenerateParams, read_request
from flows.generate.run import run
from tasks.errors import RequestError
from tasks.generation.made_of import is_made_of

RED, BLUE = "a red circle moving right", "a blue circle moving right"
ONE_STEP = {"num_inference_steps": 1, "guidance_scale": 1.0, "fps": 8.0}


def params(model: Path, **asked: Any) -> GenerateParams:
    sampling = ONE_STEP | asked.pop("sampling", {})
    return GenerateParams(**{"prompt": RED, "clips": 2, "model": str(model), "sampling": sampling} | asked)


def test_a_loop_is_written_and_told(small_model: Path, tmp_home: Path, tmp_path: Path) -> None:
    asked = params(small_model, loop=True, out=tmp_path / "v.mp4")
    request = read_request(asked)
    assert would("generate", request)["loop"] is True
    made = run(request)
    # Every clip comes after another one, whose last frame its own first one repeats.
    assert made["loop"] is True and made["videos"][0]["frames"] == 2 * 7
    assert is_made_of(tmp_path / "v.mp4", request.made_of(0)) and request.made_of(0)["loop"] is True
    assert run(read_request(asked))["videos"][0]["kept"]
    with pytest.raises(RequestError, match="not of this request"):
        read_request(params(small_model, out=tmp_path / "v.mp4"))


def test_a_text_begins_at_its_second(small_model: Path, tmp_home: Path, tmp_path: Path) -> None:
    out = tmp_path / "v.mp4"
    request = read_request(params(small_model, at=[f"1.25: {BLUE} "], out=out))
    (told,) = would("generate", request)["would_write"]
    assert told["prompt"] == f"{RED} / {BLUE}" and told["at"] == [1.25]
    assert request.asked().prompts == [{0: RED, 10: BLUE}]
    run(request)
    assert request.made_of(0)["at"] == [1.25] and is_made_of(out, request.made_of(0))
    shown = [_frames(out), _frames(_written(params(small_model, out=tmp_path / "plain.mp4")))]
    assert np.abs(shown[0][:7] - shown[1][:7]).max() < 60 and len(shown[0]) == 15
    with pytest.raises(RequestError, match="not of this request"):
        read_request(params(small_model, at=[f"1:{BLUE}"], out=out))
    names = {read_request(params(small_model, at=[f"{at}:{BLUE}"])).jobs[0].out for at in (1, 1.25)}
    assert len(names) == 2


def _written(asked: GenerateParams) -> Path:
    return Path(run(read_request(asked))["videos"][0]["file"])


def _frames(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]).astype(int)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"loop": True, "clips": 1}, "loop: needs at least 2 clips"),
        ({"loop": True, "image": "PHOTO"}, "loop: ends where it begins.*image"),
        ({"loop": True, "sampling": {"method": "freenoise"}}, "loop: method freenoise"),
        ({"loop": True, "sampling": {"seam": "crossfade"}}, "loop: seam crossfade"),
        ({"loop": True, "sampling": {"prompt_frames": 0}}, r"loop: .* prompt_frames in 1\.\.7"),
        ({"loop": True, "sampling": {"beta": 0.0}}, "loop: .* beta above 0, not 4 and 0"),
        ({"at": [BLUE]}, "at: write it as SECONDS:PROMPT"),
        ({"at": ["1:"]}, "at: write it as SECONDS:PROMPT"),
        ({"at": [f"-1:{BLUE}"]}, "at: write it as SECONDS:PROMPT"),
        ({"at": [f"1:{BLUE}", f"1.0:{RED}"]}, "at: two texts begin at 1 s"),
        ({"at": [f"0:{BLUE}"]}, "at: .*text of 0 s begins no later"),
        ({"at": [f"1:{BLUE}", f"1.1:{RED}", f"1.12:{RED}"]}, "text of 1.12 s begins no later"),
        ({"at": [f"1.8:{BLUE}"]}, "at: 1.8 s is not before the end: 15 new frames at 8 a second last 1.88 s"),
        ({"at": [f"1:{BLUE}"], "then": [BLUE]}, "at: give either then"),
        ({"at": [f"1:{BLUE}"], "sampling": {"method": "overlap"}}, "at: method overlap"),
        ({"at": [f"1:{BLUE}"], "prompt": None, "prompts_file": "p.txt"}, "at: is for a single prompt"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(
    small_model: Path, tmp_home: Path, tmp_path: Path, asked: dict[str, Any], said: str
) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.png")
    given = {name: tmp_path / "photo.png" if value == "PHOTO" else value for name, value in asked.items()}
    with pytest.raises(RequestError, match=said) as caught:
        read_request(params(small_model, out_dir=None, out=None, **given))
    assert "\n" not in str(caught.value)
