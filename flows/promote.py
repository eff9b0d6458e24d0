"""Promotion: the candidate becomes champion when its recorded evaluation passes the gate.

vidrd promote --model models:/vidrd@candidate
prefect deployment run promote/promote
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from pydantic import BaseModel, ConfigDict, Field

from flows.profile import check_model_profile, load_profile
from tasks.errors import RequestError

if TYPE_CHECKING:
    from storage.registry import Registry

# What must be alike for two evaluations to be compared: tags that flows/evaluate.py leaves on a version.
SETUP_TAGS = ("evaluation.protocol", "evaluation.n", "evaluation.reference")


class PromoteParams(BaseModel):
    """Which version to promote; as they are, the defaults take the newest candidate."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field("models:/vidrd@candidate", description="a registry reference")
    profile: str = Field("tiny", description="where the gate's settings come from")


def check(params: PromoteParams) -> None:
    """Raises RequestError or StorageError with one line when the two models cannot be compared."""
    from storage.registry import CHAMPION, Registry, resolve_model

    registry = Registry()
    version = _version(params)
    check_model_profile(resolve_model(params.model), load_profile(params.profile))
    setup = _setup(registry, version, params.model)
    champion = registry.alias_version(CHAMPION)
    if champion is None or champion == version:
        return
    champion_setup = _setup(registry, champion, f"models:/vidrd@{CHAMPION}")
    for tag in SETUP_TAGS:
        if setup[tag] != champion_setup[tag]:
            raise RequestError(
                f"model: {params.model} and the champion were evaluated with another {tag} "
                f"({setup[tag]} and {champion_setup[tag]}); run vidrd evaluate on both alike first"
            )


@flow(name="promote")
def promote(params: PromoteParams = PromoteParams()) -> dict:  # noqa: B008 (Prefect shows it as the default)
    """Moves the alias `champion` or leaves it, and writes the reason on the version."""
    from storage.registry import CHAMPION, Registry
    from tasks.evaluation.gate import Decision, decide

    check(params)
    registry = Registry()
    version, champion = _version(params), registry.alias_version(CHAMPION)
    metrics = registry.version_metrics(version)
    if champion == version:
        decision = Decision(True, "It is the champion already.")
    else:
        champion_metrics = None if champion is None else registry.version_metrics(champion)
        decision = decide(metrics, champion_metrics, load_profile(params.profile).evaluation.gate)
        _record(registry, version, champion, decision.promote, decision.reason)
    if decision.promote:
        registry.set_alias(CHAMPION, version)
    result = {
        "model": params.model,
        "version": version,
        "promoted": decision.promote,
        "reason": decision.reason,
        "champion": version if decision.promote else champion,
        "champion_before": champion,
        "metrics": metrics,
    }
    create_markdown_artifact(_as_markdown(result), key="promote", description="the gate's decision")
    return result


def _version(params: PromoteParams) -> int:
    from storage.registry import resolve_model

    version = resolve_model(params.model).version
    if version is None:
        raise RequestError(f"model: {params.model} is a folder; only registered versions can be promoted")
    return version


def _setup(registry: Registry, version: int, ref: str) -> dict[str, str]:
    tags = registry.version_tags(version)
    if not all(tag in tags for tag in SETUP_TAGS):
        raise RequestError(
            f"model: {ref} (version {version}) has no recorded evaluation; run vidrd evaluate first"
        )
    return {tag: tags[tag] for tag in SETUP_TAGS}


def _record(registry: Registry, version: int, champion: int | None, promoted: bool, reason: str) -> None:
    """The decision as tags of the version: whoever finds it in MLflow sees why it is, or is not, champion."""
    tags = {
        "promotion": "promoted" if promoted else "refused",
        "promotion.reason": reason,
        "promotion.champion_before": "none" if champion is None else str(champion),
        "promotion.decided_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    registry.set_version_tags(version, tags)


def _as_markdown(result: dict[str, Any]) -> str:
    verdict = "is champion" if result["version"] == result["champion"] else "stays candidate"
    lines = [
        f"Version {result['version']} **{verdict}**: {result['reason']}",
        "",
        "| figure | value |",
        "|---|---:|",
    ]
    lines += [f"| {name} | {value:.4g} |" for name, value in sorted(result["metrics"].items())]
    return "\n".join(lines) + "\n"
