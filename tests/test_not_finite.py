"""Latents and frames that are not finite end with an error that says where, in what precision, and what to set."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from flows.generate.flow import GenerateParams, generate
from tasks.generation.settings import SamplingSettings
from tests.damaged_models import overflow_in_float16
from tests.quiet_pipeline import quiet_pipeline
from vidrd_model import ModelError, VidRDPipeline
from vidrd_model.baselines import stream_freenoise, stream_overlap
from vidrd_model.finite import FiniteSteps

PROMPT = "a red circle moving right"
QUICK: dict[str, Any] = {
    "num_inference_steps": 3,
    "guidance_scale": 4.0,
    "seed": 7,
    "height": 32,
    "width": 32,
}
STREAMS = {"vidrd": VidRDPipeline.stream, "overlap": stream_overlap, "freenoise": stream_freenoise}
NAMED = {
    "unet": "the latents are not finite after step 1 of 3: the UNet computes in float16; set dtype to bfloat16",
    "vae": "the decoded frames are not finite, after the last step: the VAE computes in float16; set dtype to",
}


@pytest.fixture(scope="module")
def overflowing(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model for each part that overflows in half precision."""
    folder = tmp_path_factory.mktemp("models")
    for part in ("unet", "vae"):
        shutil.copytree(small_model, folder / part)
        overflow_in_float16(folder / part, part)
    return {part: folder / part for part in ("unet", "vae")}


@pytest.mark.parametrize("part", NAMED)
def test_every_way_to_sample_says_so(overflowing: dict[str, Path], part: str) -> None:
    pipe = quiet_pipeline(overflowing[part], dtype=torch.float16)
    for stream in STREAMS.values():
        with pytest.raises(ModelError, match=NAMED[part]):
            next(stream(pipe, PROMPT, 2, **QUICK))
    fitting = quiet_pipeline(overflowing[part], dtype=torch.float32)
    assert np.isfinite(fitting(PROMPT, **QUICK).frames).all()


def test_the_step_is_the_first_of_many() -> None:
    finite = FiniteSteps(torch.device("cpu"))
    for step in range(7):
        finite.note(torch.tensor([1.0, float("inf") if step == 4 else 0.0]))
    with pytest.raises(
        ModelError, match="after step 5 of 7: the UNet computes in bfloat16; set dtype to float32"
    ):
        finite.check(7, torch.bfloat16)
    with pytest.raises(ModelError, match="set a lower guidance_scale"):
        finite.check(7, torch.float32)


@pytest.mark.parametrize("part", NAMED)
@pytest.mark.slow
@pytest.mark.gate
def test_generate_ends_with_that_line_and_writes_nothing(
    prefect_session: None,
    ray_session: None,
    tmp_home: Path,
    tmp_path: Path,
    overflowing: dict[str, Path],
    part: str,
) -> None:
    out = tmp_path / "out" / "video.mp4"
    sampling = SamplingSettings(num_inference_steps=3, dtype="float16")
    with pytest.raises(ModelError, match=NAMED[part]) as caught:
        generate(
            GenerateParams(prompt=PROMPT, out=out, clips=2, model=str(overflowing[part]), sampling=sampling)
        )
    assert "\n" not in str(caught.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and "home" not in path.parts]


@pytest.mark.slow
def test_the_command_ends_with_one_line_and_another_exit_code(
    tmp_path: Path, overflowing: dict[str, Path], tiny_profile: Any
) -> None:
    from flows.profile import PROFILES_DIR

    text = (PROFILES_DIR / "tiny" / "profile.toml").read_text().replace('"./', f'"{PROFILES_DIR}/tiny/')
    profile = tmp_path / "half.toml"
    profile.write_text(text.replace("[sampling]", '[sampling]\ndtype = "float16"'))
    command = [sys.executable, "-m", "flows.cli", "generate", PROMPT, "--clips", "1", "--steps", "3"]
    command += [
        "--model",
        str(overflowing["unet"]),
        "--profile",
        str(profile),
        "--out",
        str(tmp_path / "v.mp4"),
    ]
    environment = os.environ | {"VIDRD_HOME": str(tmp_path / "home")}
    del environment["PREFECT_HOME"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: the latents are not finite after step 1 of 3")
    assert not list(tmp_path.glob("v.*"))
