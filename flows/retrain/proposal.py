"""After a training by schedule: the candidate beside the champion, and what the gate would decide.

Nothing is promoted here. The verdict is written on the version and into an artifact, with the command that acts on it.
"""

from __future__ import annotations

from flows.evaluate.request import EvaluateParams, read_request
from flows.evaluate.run import run as evaluate
from flows.promote.record import decision_markdown
from flows.promote.verdict import verdict
from flows.retrain.request import RetrainRequest
from flows.runs.artifacts import show_markdown
from storage.registry.names import PROPOSAL, version_ref
from storage.registry.registry import Registry
from tasks.evaluation.verdict import Decision


def propose(version: int, request: RetrainRequest) -> dict:
    """Evaluates a version that a retraining has made, and the champion alike; returns what to do with the version."""
    params, registry = request.params, Registry()
    champion = registry.champion(request.profile.name)
    asked = EvaluateParams(
        model=version_ref(version),
        reference=params.reference,
        profile=params.profile,
        set=params.set,
        beside_champion=True,
    )
    evaluate(read_request(asked))
    decision = verdict(registry, version, champion, request.profile.evaluation.gate)
    command = f"vidrd promote --model {version_ref(version)}"
    _record(registry, version, champion, decision)
    show_markdown(
        as_markdown(version, champion, decision, command),
        key="proposal",
        description="what the gate would decide",
    )
    proposal = {
        "promote": decision.promote,
        "verdict": decision.verdict,
        "reason": decision.reason,
        "champion": champion,
    }
    return proposal | ({"command": command} if decision.promote else {})


def as_markdown(version: int, champion: int | None, decision: Decision, command: str) -> str:
    """Returns the verdict, the figures of both side by side, and the command."""
    lines = [decision_markdown(version, champion, decision, proposed=True)]
    if decision.promote:
        lines += ["Nothing has been promoted. This does it:", "", f"    {command}", ""]
    return "\n".join(lines)


def _record(registry: Registry, version: int, champion: int | None, decision: Decision) -> None:
    registry.set_version_tags(version, PROPOSAL.values(decision.verdict, decision.reason, champion))
