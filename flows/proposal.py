"""After a training by schedule: the candidate beside the champion, and what the gate would decide.

Nothing is promoted here. The verdict is written on the version and into an artifact, with the command that acts on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from prefect.artifacts import create_markdown_artifact

from flows.evaluate import EvaluateParams, evaluate
from flows.profile import load_profile
from flows.promote import SETUP_TAGS

if TYPE_CHECKING:
    from storage.registry import Registry


@dataclass(frozen=True)
class Proposal:
    """What the gate would do with a candidate, and the figures it looked at; `command` promotes it."""

    promote: bool
    reason: str
    champion: int | None
    champion_metrics: Mapping[str, float]
    candidate_metrics: Mapping[str, float]
    command: str


def propose(version: int, profile: str, reference: Path | None) -> dict:
    """Evaluate a version, and the champion where its figures were not taken alike; what to do with the version."""
    from storage.registry import CHAMPION, Registry

    registry = Registry()
    evaluate(EvaluateParams(model=f"models:/vidrd/{version}", reference=reference, profile=profile))
    champion = registry.alias_version(CHAMPION)
    if (
        champion is not None
        and _of_profile(registry, champion, profile)
        and not _evaluated_alike(registry, version, champion)
    ):
        evaluate(EvaluateParams(model=f"models:/vidrd/{champion}", reference=reference, profile=profile))
    proposal = verdict(registry, version, champion, profile)
    _record(registry, version, proposal)
    create_markdown_artifact(
        as_markdown(version, proposal), key="proposal", description="what the gate would decide"
    )
    return {"promote": proposal.promote, "reason": proposal.reason, "champion": champion} | (
        {"command": proposal.command} if proposal.promote else {}
    )


def verdict(registry: Registry, version: int, champion: int | None, profile: str) -> Proposal:
    """What the gate decides on the recorded figures of a version and of the champion, if there is one."""
    from tasks.evaluation.gate import Decision, decide

    figures = registry.version_metrics(version)
    before = {} if champion is None else registry.version_metrics(champion)
    if champion is not None and not _of_profile(registry, champion, profile):
        decision = Decision(False, f"The champion, version {champion}, is a model of another profile.")
    else:
        gate = load_profile(profile).evaluation.gate
        decision = decide(figures, None if champion is None else before, gate)
    command = f"vidrd promote --model models:/vidrd/{version} --profile {profile}"
    return Proposal(decision.promote, decision.reason, champion, before, figures, command)


def as_markdown(version: int, proposal: Proposal) -> str:
    """The verdict, the figures of both side by side, and the command."""
    beside = "none" if proposal.champion is None else str(proposal.champion)
    lines = [
        f"Version {version}: **{'promote' if proposal.promote else 'do not promote'}**. {proposal.reason}",
        "",
        f"| figure | champion ({beside}) | candidate ({version}) |",
        "|---|---:|---:|",
    ]
    before, after = proposal.champion_metrics, proposal.candidate_metrics
    for name in sorted({*before, *after}):
        cells = [f"{values[name]:.4g}" if name in values else "" for values in (before, after)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    if proposal.promote:
        lines += ["", "Nothing has been promoted. This does it:", "", f"    {proposal.command}"]
    return "\n".join(lines) + "\n"


def _record(registry: Registry, version: int, proposal: Proposal) -> None:
    tags = {
        "proposal": "promote" if proposal.promote else "refuse",
        "proposal.reason": proposal.reason,
        "proposal.champion": "none" if proposal.champion is None else str(proposal.champion),
        "proposal.made_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    registry.set_version_tags(version, tags)


def _of_profile(registry: Registry, version: int, profile: str) -> bool:
    name = load_profile(profile).name
    return registry.version_tags(version).get("profile", name) == name


def _evaluated_alike(registry: Registry, version: int, champion: int) -> bool:
    tags, before = registry.version_tags(version), registry.version_tags(champion)
    return all(tag in before and before[tag] == tags[tag] for tag in SETUP_TAGS)
