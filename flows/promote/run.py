"""Carries out a promotion: the gate decides and the alias `champion` moves or stays, or goes back by one version."""

from __future__ import annotations

from typing import Any

from flows.model import resolve
from flows.promote.pages import write_pages
from flows.promote.record import decision_markdown, record_decision
from flows.promote.request import PromoteRequest, RollbackRequest, check_version
from flows.promote.verdict import decide_recorded
from flows.runs.artifacts import show_markdown
from storage.registry.names import PROMOTION
from storage.registry.registry import Registry
from tasks import markdown


def run(request: PromoteRequest | RollbackRequest) -> dict[str, Any]:
    """Carries it out; returns the verdict, its reason and the metrics behind it, with the champion before and after."""
    registry = Registry()
    result = (
        _roll_back(registry, request) if isinstance(request, RollbackRequest) else _decide(registry, request)
    )
    write_pages(registry)
    return result


def _decide(registry: Registry, request: PromoteRequest) -> dict[str, Any]:
    params, version, champion, setups = request.params, request.version, request.champion, request.setups
    if setups is None:
        return _unchanged(params.model, version)
    decision = decide_recorded(registry, version, champion, setups, request.profile.evaluation.gate)
    check_version(params, resolve(params.model))  # again, after the minutes that comparing may take
    record_decision(registry, request, decision, setups.unlike)
    if decision.promote:
        registry.set_champion(version)
    shown = [f"- sampled unlike: {name} {markdown.text(values)}" for name, values in setups.unlike.items()]
    show_markdown(
        "\n".join([decision_markdown(version, champion, decision), *shown]),
        key="promote",
        description="the gate",
    )
    return {
        "model": params.model,
        "version": version,
        "promoted": decision.promote,
        "reason": decision.reason,
        "champion": version if decision.promote else champion,
        "champion_before": champion,
        "sampled_unlike": setups.unlike,
        **decision.as_dict(),
    }


def _unchanged(model: str, version: int) -> dict[str, Any]:
    reason = f"Version {version} is the champion already."
    show_markdown(markdown.text(reason) + "\n", key="promote", description="nothing to decide")
    return {
        "model": model,
        "version": version,
        "promoted": False,
        "verdict": "unchanged",
        "reason": reason,
        "champion": version,
        "champion_before": version,
    }


def _roll_back(registry: Registry, request: RollbackRequest) -> dict[str, Any]:
    champion, before = request.champion, request.predecessor
    reason = f"Version {champion} was rolled back to its predecessor, version {before}."
    registry.set_version_tags(champion, PROMOTION.values("rolled back", reason, before))
    registry.set_champion(before, after=champion)
    show_markdown(markdown.text(reason) + "\n", key="promote", description="a rollback")
    return {
        "version": before,
        "promoted": False,
        "verdict": "rolled-back",
        "reason": reason,
        "champion": before,
        "champion_before": champion,
    }
