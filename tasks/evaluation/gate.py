"""The gate: whether a candidate's recorded figures are good enough to replace the champion's.

A figure's name carries its protocol and its number of videos (`fvd.tiny.n48`): figures of unlike protocol or
number have unlike names, so they are never compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.evaluation.settings import GateSettings

SEAMS = ("seam_boundary", "seam_guided_to_free")


@dataclass(frozen=True)
class Decision:
    """Promote or not, and why in one sentence."""

    promote: bool
    reason: str


def recorded_figures(report: Mapping[str, Any]) -> dict[str, float]:
    """The figures of an evaluation report under the names that the registry keeps and `decide` reads."""
    groups = (("", report["metrics"]), ("_reference", report["reference"]["metrics"]))
    return {
        f"{name}{suffix}.{metric['protocol']}.n{metric['n']}": float(metric["value"])
        for suffix, metrics in groups
        for name, metric in metrics.items()
    }


def decide(
    candidate_metrics: Mapping[str, float], champion_metrics: Mapping[str, float] | None, gate: GateSettings
) -> Decision:
    """Whether the candidate becomes champion; `champion_metrics` is None when there is no champion."""
    candidate = _by_metric(candidate_metrics)
    if not candidate.get("text_score"):
        return Decision(False, "The candidate has no recorded evaluation; run `vidrd evaluate` on it first.")
    failure = _below_floors(candidate, gate)
    if failure:
        return Decision(False, failure)
    if champion_metrics is None:
        return Decision(True, "There is no champion, and the candidate clears every floor of the gate.")
    return _compare(candidate, _by_metric(champion_metrics), gate)


# A set-up is the protocol and the number of videos, as in "tiny.n48".
_Figures = dict[str, dict[str, float]]


def _by_metric(metrics: Mapping[str, float]) -> _Figures:
    figures: _Figures = {}
    for key, value in metrics.items():
        name, _, setup = key.partition(".")
        figures.setdefault(name, {})[setup] = value
    return figures


def _below_floors(candidate: _Figures, gate: GateSettings) -> str | None:
    for setup, score in candidate["text_score"].items():
        real = candidate.get("text_score_reference", {}).get(setup)
        if real is None or not score >= gate.text_score_share * real:
            floor = "unknown" if real is None else f"{gate.text_score_share * real:.4f}"
            return (
                f"The candidate's text_score {score:.4f} ({setup}) is below the floor {floor}, "
                f"{gate.text_score_share:.0%} of what the reference clips score."
            )
    for name in SEAMS:
        for setup, ratio in candidate.get(name, {}).items():
            if not ratio <= gate.seam_ceiling:
                return f"The candidate jumps: {name} {ratio:.2f} ({setup}) is above {gate.seam_ceiling:g}."
    return None


def _compare(candidate: _Figures, champion: _Figures, gate: GateSettings) -> Decision:
    setup = _common_setup(candidate, champion, "text_score")
    if setup is None:
        return Decision(
            False,
            "Champion and candidate were not evaluated alike (protocol and number of videos); "
            "run `vidrd evaluate` on both.",
        )
    text, text_before = candidate["text_score"][setup], champion["text_score"][setup]
    fvd, fvd_before = candidate.get("fvd", {}).get(setup), champion.get("fvd", {}).get(setup)
    if fvd is None or fvd_before is None:
        better = text > text_before
        return Decision(
            better,
            f"Without a common fvd, text_score decides: {text:.4f} is {'' if better else 'not '}above "
            f"the champion's {text_before:.4f} ({setup}).",
        )
    if not fvd < fvd_before:
        return Decision(
            False, f"The candidate's fvd {fvd:.2f} is not below the champion's {fvd_before:.2f} ({setup})."
        )
    margin = gate.text_score_margin * candidate["text_score_reference"][setup]
    if not text >= text_before - margin:
        return Decision(
            False,
            f"The candidate's fvd {fvd:.2f} beats {fvd_before:.2f}, but its text_score falls from "
            f"{text_before:.4f} to {text:.4f}, by more than {margin:.4f} ({setup}).",
        )
    return Decision(
        True,
        f"The candidate's fvd {fvd:.2f} is below the champion's {fvd_before:.2f}, with text_score "
        f"{text:.4f} beside {text_before:.4f} ({setup}).",
    )


def _common_setup(candidate: _Figures, champion: _Figures, name: str) -> str | None:
    """The set-up that both were evaluated under; of several one with an fvd, then the most videos."""
    common = candidate.get(name, {}).keys() & champion.get(name, {}).keys()
    with_fvd = common & candidate.get("fvd", {}).keys() & champion.get("fvd", {}).keys()
    setups = with_fvd or common
    return max(setups, key=lambda setup: (int(setup.rpartition(".n")[2]), setup), default=None)
