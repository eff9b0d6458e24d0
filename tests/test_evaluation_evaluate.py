"""A whole evaluation on Ray with the embedded models: what the report holds, the cache, and bad files."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from storage.weights import fetch
from tasks.clips.video_io import decode_bytes
from tasks.errors import RequestError
from tasks.evaluation.evaluate import evaluate_model
from tasks.evaluation.gate import decide, recorded_figures
from tasks.evaluation.settings import EvaluationSettings
from tasks.generation.settings import SamplingSettings
from tasks.tiny_world.corpora import write_tiny_world
from tests.i3d_files import i3d_checkpoint

SETTINGS = EvaluationSettings(num_videos=6, seam_videos=2, seam_clips=2, seed=1)


@pytest.fixture
def reference_dir(tmp_path: Path) -> Path:
    """Eight captioned clips of the tiny world."""
    sizes = {"images": 2, "short_videos": 2, "class_videos": 2, "long_videos": 1, "reference": 8}
    return write_tiny_world(tmp_path / "world", seed=3, **sizes).parent / "reference"


@pytest.fixture
def quick_sampling(tiny_profile: Any) -> SamplingSettings:
    """The profile's sampling in few steps: here only the plumbing is looked at."""
    return tiny_profile.sampling.model_copy(update={"num_inference_steps": 3})


def test_report_cache_and_unreadable_files(
    ray_session: None,
    tmp_home: Path,
    tmp_path: Path,
    tiny_profile: Any,
    quick_sampling: SamplingSettings,
    reference_dir: Path,
) -> None:
    fetch("i3d", given=i3d_checkpoint())
    broken = sorted(reference_dir.glob("*.mp4"))[:2]
    for path in broken:
        path.write_bytes(path.read_bytes()[:200])
    told: list[tuple[int, int | None, str]] = []

    def run() -> dict[str, Any]:
        return evaluate_model(
            Path(tiny_profile.model),
            reference_dir,
            tiny_profile.clip,
            SETTINGS,
            quick_sampling,
            samples_dir=tmp_path / "samples",
            on_progress=lambda done, total, note="": told.append((done, total, note)),
        )

    first, second = run(), run()

    expected = {"text_score", "frame_consistency", "motion", "seam_boundary", "seam_guided_to_free", "fvd"}
    assert set(first["metrics"]) == expected and first["unavailable"] == {}
    for name, metric in first["metrics"].items():
        assert metric["protocol"] == "tiny"
        assert metric["n"] == (2 if name.startswith("seam") else 6)
        assert np.isfinite(metric["value"])
    assert first["metrics"]["fvd"]["value"] > 0
    assert first["metrics"]["fvd"]["black_white_check"] == pytest.approx(151.392, abs=0.01)

    # The same seeds give the same videos; the reference is measured once.
    assert not first["reference"]["cached"] and second["reference"]["cached"]
    assert second["metrics"]["fvd"]["value"] == pytest.approx(first["metrics"]["fvd"]["value"], rel=1e-4)
    assert second["metrics"]["text_score"] == pytest.approx(first["metrics"]["text_score"])

    # All eight are needed to find six: the two broken ones are named and others took their place.
    named = {Path(item["file"]).name for item in first["reference"]["unreadable"]}
    assert named == {path.name for path in broken}
    assert second["reference"]["unreadable"] == first["reference"]["unreadable"]

    assert [sample["seed"] for sample in first["samples"]] == [1, 2, 3, 4, 5, 6]
    frames, fps = decode_bytes(Path(first["samples"][0]["file"]).read_bytes())
    assert frames.shape == (16, 64, 64, 3) and fps == quick_sampling.fps
    assert {note for _, _, note in told} >= {"reference clips measured", "generated videos measured"}

    (reference_dir / "reference_0007.mp4").unlink()
    with pytest.raises(RequestError, match="num_videos asks for 6"):
        run()


def test_without_weights_the_rest_is_computed(
    ray_session: None,
    tmp_home: Path,
    tiny_profile: Any,
    quick_sampling: SamplingSettings,
    reference_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    settings = SETTINGS.model_copy(update={"num_videos": 2, "seam_videos": 0})
    report = evaluate_model(
        Path(tiny_profile.model), reference_dir, tiny_profile.clip, settings, quick_sampling
    )
    assert set(report["metrics"]) == {"text_score", "frame_consistency", "motion"}
    assert "pip could not fetch" in report["unavailable"]["fvd"]


def test_frames_of_another_size_are_refused(
    ray_session: None,
    tmp_home: Path,
    tiny_profile: Any,
    quick_sampling: SamplingSettings,
    reference_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    settings = SETTINGS.model_copy(update={"num_videos": 2, "seam_videos": 0, "width": 128, "height": 128})
    with pytest.raises(RequestError, match="the model makes 64x64 videos, the settings say 128x128"):
        evaluate_model(Path(tiny_profile.model), reference_dir, tiny_profile.clip, settings, quick_sampling)


def test_a_model_damaged_on_purpose_is_refused(
    ray_session: None, tmp_home: Path, tmp_path: Path, tiny_profile: Any, reference_dir: Path
) -> None:
    import torch

    from vidrd_model import VidRDPipeline

    fetch("i3d", given=i3d_checkpoint())
    damaged = tmp_path / "damaged"
    shutil.copytree(tiny_profile.model, damaged)
    pipe = VidRDPipeline.from_pretrained(damaged)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in pipe.unet.parameters():
            weight += torch.randn(weight.shape, generator=generator) * weight.std(unbiased=False)
    pipe.unet.save_pretrained(damaged / "unet")

    settings = tiny_profile.evaluation.model_copy(update={"num_videos": 8, "seam_videos": 2})
    good, bad = (
        recorded_figures(
            evaluate_model(folder, reference_dir, tiny_profile.clip, settings, tiny_profile.sampling)
        )
        for folder in (Path(tiny_profile.model), damaged)
    )
    gate = settings.gate
    assert decide(good, None, gate).promote
    assert not decide(bad, None, gate).promote
    assert not decide(bad, good, gate).promote
    assert decide(good, bad, gate).promote
    assert bad["fvd.tiny.n8"] > good["fvd.tiny.n8"]
