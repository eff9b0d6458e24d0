"""The evaluate flow: bad requests stop before any work, and figures land on the registered version."""

from pathlib import Path

import pytest

from flows.evaluate.flow import evaluate
from flows.evaluate.record import PAGE_FILE
from flows.evaluate.request import EvaluateParams, read_request
from flows.profile import Profile
from storage.errors import StorageError
from storage.registry.evaluation_files import fetch_evaluation
from storage.registry.registry import Registry
from storage.weights import fetch
from tasks.errors import RequestError
from tests.evaluation_rows import newest_metrics, reported_names
from tests.i3d_files import i3d_checkpoint
from tests.saved_settings import with_saved_settings
from tests.served_deployments import write_quick_profile


def test_requests_that_cannot_work_are_refused_by_field(
    registry_home: Path, tmp_path: Path, tiny_profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    model = tiny_profile.model
    for params, error, message in (
        ({"protocol": "fvd2048-16f"}, RequestError, "has not UCF-101's layout"),
        ({"c3d_weights": tmp_path / "none.pt"}, RequestError, "c3d_weights: .*none.pt is no file"),
        ({"protocol": "fvd"}, RequestError, "protocol: 'fvd' is unknown"),
        ({"profile": "none"}, RequestError, "profile: 'none'"),
        ({"model": str(tmp_path)}, StorageError, "no model folder"),
        ({"model": "models:/vidrd@candidate"}, StorageError, "alias 'candidate'"),
        ({"reference": tmp_path / "none"}, RequestError, "reference: .*none is no folder"),
        ({"reference": tmp_path}, RequestError, "reference: .* has 0 captioned videos"),
        ({"num_videos": 65}, RequestError, "has 64 captioned videos, num_videos asks for 65"),
    ):
        with pytest.raises(error, match=message) as caught:
            read_request(EvaluateParams(**{"model": model, **params}))
        assert "\n" not in str(caught.value)


def test_by_schedule_there_may_be_no_candidate_yet(
    prefect_session: None, registry_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    result = evaluate(EvaluateParams(then_promote=True))
    assert (
        result == {"evaluated": False, "reason": result["reason"]} and "no candidate yet" in result["reason"]
    )
    with pytest.raises(StorageError, match="alias 'candidate'"):
        evaluate(EvaluateParams())


@pytest.mark.slow
@pytest.mark.gate
def test_figures_and_their_setup_are_recorded_on_the_version(
    prefect_session: None,
    registry_home: Path,
    tmp_path: Path,
    tiny_profile: Profile,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    fetch("i3d", given=i3d_checkpoint())
    registry = Registry()
    with registry.start_run("test") as run:
        quick = with_saved_settings(Path(tiny_profile.model), tmp_path / "model", {"num_inference_steps": 3})
        version = registry.register(quick, run, {})
    profile = write_quick_profile(tmp_path / "profile.toml", {"long_videos = 16": "long_videos = 2"})

    report = evaluate(EvaluateParams(num_videos=3, profile=str(profile)))

    assert report["model_version"] == version and report["n"] == 3
    assert report["sampling"]["num_inference_steps"] == {"value": 3, "from": "model"}
    recorded = newest_metrics(registry, version)
    assert recorded == pytest.approx(reported_names(report))
    assert {"fvd.tiny.n3", "fvd.tiny.n3.low", "text_score.tiny.n3", "text_score_reference.tiny.n3"} <= set(
        recorded
    )
    tags = registry.version_tags(version)
    assert (tags["evaluation.protocol"], tags["evaluation.n"]) == ("tiny", "3")
    assert tags["evaluation.reference"] == report["reference"]["digest"]
    page = fetch_evaluation(registry, version, report["setup_digest"], PAGE_FILE, tmp_path)
    table = page.read_text(encoding="utf-8")
    assert f"| fvd | {report['metrics']['fvd']['value']:.4g} |" in table and "**tiny**" in table
    assert all(Path(sample["file"]).is_file() for sample in report["samples"])
    assert report["metrics"]["fvd"]["value"] > 0
    assert report["metrics"]["fvd"]["black_white_check"] == pytest.approx(151.392, abs=0.01)
    assert len(report["fvd_over_time"]["values"]) == 5  # windows of 8 frames from 0, 4 to 16 of 24
