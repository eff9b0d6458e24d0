"""Evaluations that may be compared though their models are sampled unlike: what must be the same, what is shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.promote.record import DECISION_FILE
from flows.promote.request import PromoteParams, read_request
from flows.promote.run import run
from storage.registry.evaluation_files import fetch_evaluation, keep_evaluation
from storage.registry.names import CHAMPION, REPORT_FILE
from storage.registry.registry import Registry
from tasks.errors import RequestError
from tasks.evaluation.comparable import RecordedSetup
from tasks.generation.settings import SamplingSettings

SAME = {
    "protocol": "tiny",
    "fps": 8.0,
    "seed": 0,
    "width": 64,
    "height": 64,
    "num_videos": 40,
    "reference": "r",
    "prompts_digest": "p",
    "networks": "n",
}


def _old_report(**changed: Any) -> dict[str, Any]:
    """As reports were before models had settings of their own: all of them in the set-up."""
    sampling = SamplingSettings(num_inference_steps=50, alpha=4.0).model_dump(mode="json")
    return {"setup": SAME | {"sampling": sampling | {"seam": "keep"}} | changed}


def _new_report(steps: int = 20, **changed: Any) -> dict[str, Any]:
    sampling = SamplingSettings(num_inference_steps=steps).model_dump(mode="json")
    return {
        "setup": SAME | {"clip_frames": 8} | changed,
        "sampling": {
            name: {"value": value, "from": "model"} for name, value in sampling.items() if name != "seam"
        },
    }


@pytest.fixture
def evaluated(add_candidate: Callable[..., int], tmp_path: Path) -> Callable[..., int]:
    def add(quality: float, setup: str, report: dict[str, Any], seed: int = 0) -> int:
        version = add_candidate(quality, seed=seed, setup=setup)
        path = tmp_path / REPORT_FILE
        path.write_text(json.dumps(report))
        keep_evaluation(Registry(), version, setup, [path])
        return version

    return add


def promoted() -> dict[str, Any]:
    """What a promotion of the candidate does, without a run of Prefect."""
    return run(read_request(PromoteParams()))


@pytest.mark.parametrize("old_candidate", [False, True])
def test_an_old_champion_is_compared_and_the_difference_is_shown(
    evaluated: Callable[..., int], tmp_path: Path, old_candidate: bool
) -> None:
    reports = [_old_report(), _new_report()]
    first, second = reversed(reports) if old_candidate else reports
    champion = evaluated(0.6, "one", first)
    promoted()
    candidate = evaluated(0.95, "two", second, seed=1)
    result = promoted()
    assert result["promoted"] and result["champion_before"] == champion
    assert Registry().alias_version(CHAMPION) == candidate
    kept = json.loads(fetch_evaluation(Registry(), candidate, "two", DECISION_FILE, tmp_path).read_text())
    differences = {name: value for name, value in kept["setup"].items() if name.startswith("sampling.")}
    steps = ("50", "20") if old_candidate else ("20", "50")
    assert differences == {"sampling.num_inference_steps": f"{steps[0]}, champion {steps[1]}"}
    assert result["sampled_unlike"] == {"num_inference_steps": f"{steps[0]}, champion {steps[1]}"}


@pytest.mark.parametrize(
    "changed",
    [
        *(
            {"fps": 4.0},
            {"seed": 1},
            {"width": 128},
            {"height": 32},
            {"prompts_digest": "q"},
            {"reference": "s"},
        ),
        *({"num_videos": 48}, {"networks": "m"}, {"clip_frames": 16}),
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_what_must_be_the_same_is(changed: dict[str, Any]) -> None:
    old, new, other = (
        RecordedSetup.from_report(report) for report in (_old_report(), _new_report(), _new_report(**changed))
    )
    assert old.comparable(new)
    assert not old.comparable(other)


def test_a_candidate_at_another_rate_is_not_compared(evaluated: Callable[..., int]) -> None:
    evaluated(0.6, "one", _old_report())
    promoted()
    evaluated(0.95, "two", _new_report(fps=4.0), seed=1)
    with pytest.raises(RequestError, match="--beside-champion"):
        read_request(PromoteParams())


def test_models_with_settings_of_their_own_share_a_set_up(
    evaluated: Callable[..., int], tmp_path: Path
) -> None:
    evaluated(0.6, "same", _new_report(steps=50))
    promoted()
    candidate = evaluated(0.95, "same", _new_report(steps=4), seed=1)
    assert promoted()["promoted"]
    kept = json.loads(fetch_evaluation(Registry(), candidate, "same", DECISION_FILE, tmp_path).read_text())
    assert kept["setup"]["sampling.num_inference_steps"] == "4, champion 50"
