"""A whole evaluation on Ray with the embedded models: what the report holds, the cache, and bad files."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.clips.video_io import decode_bytes
from tasks.corpora.media import content_digest
from tasks.corpora.records import MediaPlace
from tasks.errors import RequestError
from tasks.evaluation.evaluate import evaluate_model
from tasks.evaluation.features import VideoFeatures
from tasks.evaluation.gate import decide
from tasks.evaluation.protocols import find_protocol
from tasks.evaluation.settings import EvaluationSettings
from tasks.evaluation.workers import MeasuringPool
from tasks.generation.settings import SamplingSettings
from tasks.tiny.world.corpora import write_tiny_world
from tests.damaged_models import damage_unet
from tests.i3d_files import put_i3d_weights

SETTINGS = EvaluationSettings(num_videos=3, long_videos=2, long_clips=2, seed=1)


@pytest.fixture
def reference_dir(tmp_path: Path) -> Path:
    """Five captioned clips of the tiny world."""
    return _write_reference(tmp_path / "world", 5)


def _write_reference(folder: Path, clips: int) -> Path:
    sizes = {"images": 1, "short_videos": 1, "class_videos": 1, "long_videos": 1}
    return write_tiny_world(folder, seed=3, reference=clips, **sizes).parent / "reference"


@pytest.fixture
def quick_sampling(tiny_profile: Any) -> SamplingSettings:
    """The profile's sampling in few steps: here only the plumbing is looked at."""
    return tiny_profile.sampling.model_copy(update={"num_inference_steps": 3})


@pytest.mark.slow
@pytest.mark.gate
def test_report_cache_and_unreadable_files(
    measuring_pool: MeasuringPool,
    tmp_home: Path,
    tmp_path: Path,
    tiny_profile: Any,
    quick_sampling: SamplingSettings,
    reference_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # what I3D says is looked at where the flow records it
    broken = sorted(reference_dir.glob("*.mp4"))[:2]
    for path in broken:
        path.write_bytes(path.read_bytes()[:200])
    manifest = reference_dir / "manifest.tsv"
    header, *rows = manifest.read_text().splitlines()
    manifest.write_text("\n".join([header, *(f"{row} {' '.join(['and on'] * 10)}" for row in rows)]) + "\n")
    told: list[tuple[int, int | None, str]] = []

    def run() -> dict[str, Any]:
        return evaluate_model(
            Path(tiny_profile.model),
            reference_dir,
            tiny_profile.clip,
            SETTINGS,
            quick_sampling,
            measuring_pool,
            on_progress=lambda done, total, note="": told.append((done, total, note)),
        ).report.as_dict()

    first, second = run(), run()

    of_all = {
        "text_score",
        "text_contrast",
        "frame_consistency",
        "pixel_consistency",
        "motion",
        "frozen",
    }
    of_long = {"cycling", "seam_boundary", "seam_guided_to_free"}
    assert set(first["metrics"]) == of_all | of_long and set(first["unavailable"]) == {"is", "fvd"}
    assert "pip could not fetch" in first["unavailable"]["fvd"]
    for name, metric in first["metrics"].items():
        assert metric["protocol"] == "tiny"
        assert metric["n"] == (2 if name in of_long else 3)
        assert metric["low"] <= metric["value"] <= metric["high"]
    assert first["setup_digest"] == second["setup_digest"]

    # The same seeds are the same videos, and what is measured is measured once.
    assert not first["reference"]["cached"] and second["reference"]["cached"]
    assert second["metrics"] == first["metrics"]

    # What neither the model nor CLIP reads of the prompts is said.
    for cut in first["cut_prompts"].values():
        assert (cut["cut"], cut["of"], cut["tokens"]) == (3, 3, 16) and cut["lost"].endswith("and on")
    assert set(first["cut_prompts"]) == {"conditioning", "scoring"}

    # All five are needed to find three: the two broken ones are named and others took their place.
    named = {Path(item["file"]).name for item in first["reference"]["unreadable"]}
    assert named == {path.name for path in broken}
    assert second["reference"]["unreadable"] == first["reference"]["unreadable"]

    assert [sample["seed"] for sample in first["samples"]] == [1, 2, 3]
    frames, fps = decode_bytes(Path(first["samples"][0]["file"]).read_bytes())
    assert frames.shape == (16, 64, 64, 3) and fps == quick_sampling.fps
    assert {note for _, _, note in told} == {"reference clips measured", "videos sampled and measured"}

    (reference_dir / "reference_0004.mp4").unlink()
    with pytest.raises(RequestError, match="num_videos asks for 3"):
        run()


def test_frames_of_another_size_are_refused(
    measuring_pool: MeasuringPool,
    tmp_home: Path,
    tiny_profile: Any,
    quick_sampling: SamplingSettings,
    reference_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    settings = SETTINGS.model_copy(update={"num_videos": 2, "long_videos": 0, "width": 128, "height": 128})
    with pytest.raises(RequestError, match="the model makes 64x64 videos, the settings say 128x128"):
        evaluate_model(
            Path(tiny_profile.model),
            reference_dir,
            tiny_profile.clip,
            settings,
            quick_sampling,
            measuring_pool,
        )


@pytest.mark.slow
def test_a_model_damaged_on_purpose_is_refused(
    measuring_pool: MeasuringPool, tmp_home: Path, tmp_path: Path, tiny_profile: Any
) -> None:
    reference_dir = _write_reference(tmp_path / "world", 8)
    put_i3d_weights()
    damaged = tmp_path / "damaged"
    shutil.copytree(tiny_profile.model, damaged)
    damage_unet(damaged, share=1.0)
    settings = tiny_profile.evaluation.model_copy(update={"num_videos": 8, "long_videos": 2})
    sampling = tiny_profile.sampling.model_copy(update={"num_inference_steps": 8})
    own = sampling.model_copy(update={"guidance_scale": 5.0})
    good, bad = (
        evaluate_model(folder, reference_dir, tiny_profile.clip, settings, chosen, measuring_pool)
        for folder, chosen in ((Path(tiny_profile.model), sampling), (damaged, own))
    )
    assert good.setup_digest == bad.setup_digest  # each model is sampled at its own settings

    def promotes(candidate: VideoFeatures, champion: VideoFeatures | None) -> bool:
        return decide(candidate, champion, good.reference, find_protocol("tiny"), settings.gate).promote

    assert promotes(good.features, None) and not promotes(bad.features, None)
    assert not promotes(bad.features, good.features)
    assert promotes(good.features, bad.features)
    assert bad.report.metrics["fvd"].estimate.value > good.report.metrics["fvd"].estimate.value


def test_what_a_killed_evaluation_has_measured_is_not_measured_again(
    measuring_pool: MeasuringPool,
    tmp_home: Path,
    tiny_profile: Any,
    quick_sampling: SamplingSettings,
    reference_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    settings = SETTINGS.model_copy(update={"long_videos": 0})
    sampling = quick_sampling.model_copy(update={"prompts_per_batch": 2})

    class Killed(Exception):
        """What a kill -9 between two batches comes to: the process does nothing more."""

    told: list[int] = []

    def run(die_after: int | None) -> Any:
        told.clear()

        def on_progress(done: int, total: int | None, note: str = "") -> None:
            if note == "videos sampled and measured":
                told.append(done)
                if done == die_after:
                    raise Killed

        model = Path(tiny_profile.model)
        return evaluate_model(
            model,
            reference_dir,
            tiny_profile.clip,
            settings,
            sampling,
            measuring_pool,
            on_progress=on_progress,
        )

    with pytest.raises(Killed):
        run(die_after=2)
    resumed = run(die_after=None)
    assert told == [3]
    shutil.rmtree(tmp_home / "evaluation")
    undisturbed = run(die_after=None)
    assert told == [2, 3]
    for name, column in undisturbed.features.arrays().items():
        np.testing.assert_allclose(
            getattr(resumed.features, name), column, rtol=1e-5, atol=1e-6, err_msg=name
        )


def test_a_reference_that_was_trained_on_is_refused(
    tmp_home: Path, tiny_profile: Any, reference_dir: Path
) -> None:
    seen = content_digest(MediaPlace(str(reference_dir / "reference_0003.mp4")))
    with pytest.raises(RequestError, match=r"trained on 1 of the 5 videos .* reference_0003.mp4") as caught:
        evaluate_model(
            Path(tiny_profile.model),
            reference_dir,
            tiny_profile.clip,
            SETTINGS,
            tiny_profile.sampling,
            MeasuringPool(videos=3),
            trained_on={seen},
        )
    assert "\n" not in str(caught.value)
