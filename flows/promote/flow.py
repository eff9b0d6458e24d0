"""Promotion: the candidate becomes champion when the gate finds it surely better on the same prompts and seeds.

vidrd promote --model models:/vidrd@candidate
vidrd promote --rollback
prefect deployment run promote/promote
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from pydantic import BaseModel, ConfigDict, Field, model_validator

from flows.evaluate.comparable import champion_setup, shown_differences
from flows.evaluate.record import MEASURES_FILE, REFERENCE_FILE
from flows.profile import check_model_profile, load_profile
from flows.runs.failures import tells_why
from storage.local.typed_paths import TypedText
from storage.registry.names import (
    CANDIDATE_REF,
    CHAMPION,
    EVALUATION_TAGS,
    PROMOTION,
    PROTOCOL_TAG,
    SETUP_TAG,
)
from tasks import markdown
from tasks.errors import RequestError

if TYPE_CHECKING:
    from storage.registry.registry import Registry
    from tasks.evaluation.verdict import Decision, Verdict

DECISION_FILE, DECISION_PAGE = "decision.json", "decision.html"
_OUTCOMES: dict[Verdict, str] = {"promote": "promoted", "refuse": "refused", "cannot-judge": "cannot-judge"}
_WORDS: dict[Verdict, tuple[str, str]] = {  # where it was acted on, and where it is proposed
    "promote": ("is champion", "promote"),
    "refuse": ("stays candidate", "do not promote"),
    "cannot-judge": ("stays candidate, not judged", "cannot be judged"),
}


class PromoteParams(BaseModel):
    """Which version to promote; as they are, the defaults take the newest candidate."""

    model_config = ConfigDict(extra="forbid")

    model: TypedText = Field(CANDIDATE_REF, description="a registry reference")
    evaluated_version: int | None = Field(
        None, description="stop when `model` no longer means this version; none: whatever it means now"
    )
    rollback: bool = Field(False, description="make the champion's predecessor champion again")
    profile: TypedText = Field("tiny", description="where the gate's settings come from")

    @model_validator(mode="after")
    def _rollback_alone(self) -> Self:
        if self.rollback and self.evaluated_version is not None:
            raise ValueError("rollback takes the champion's predecessor, not an evaluated version")
        return self


def check(params: PromoteParams) -> None:
    """Raises RequestError or StorageError with one line when there is nothing to decide."""
    from storage.registry.registry import Registry, resolve_model

    registry = Registry()
    if params.rollback:
        _predecessor(registry)
        return
    version = _version(params)
    check_model_profile(resolve_model(params.model), load_profile(params.profile))
    champion = registry.alias_version(CHAMPION)
    if champion != version:
        _common_setup(registry, version, champion)


@flow(name="promote")
@tells_why
def promote(params: PromoteParams = PromoteParams()) -> dict:  # noqa: B008 (Prefect shows it as the default)
    """Moves the alias `champion` or leaves it, and keeps the decision with its figures on the version."""
    from flows.promote.pages import write_pages
    from storage.registry.registry import Registry

    check(params)
    registry = Registry()
    result = _roll_back(registry) if params.rollback else _decide(registry, params)
    write_pages(registry)
    return result


def verdict(registry: Registry, version: int, champion: int | None, profile: str) -> Decision:
    """What the gate decides on the recorded rows of a version and of the champion, if there is one.

    RequestError when they are damaged, or not of one set-up.
    """
    from storage.registry.evaluation_files import fetch_evaluation
    from tasks.evaluation.features import Measures, load_measures
    from tasks.evaluation.gate import decide
    from tasks.evaluation.protocols import find_protocol

    setup, of_champion = _common_setup(registry, version, champion)
    setups = {version: setup, champion: of_champion}
    protocol = find_protocol(registry.version_tags(version).get(PROTOCOL_TAG, ""))
    with tempfile.TemporaryDirectory() as name:

        def rows(of: int, file: str) -> Measures:
            path = fetch_evaluation(registry, of, setups[of], file, Path(name))
            try:
                found = load_measures(path)[0]
            except RequestError as error:
                raise RequestError(
                    f"model: version {of}: {file} is damaged; run vidrd evaluate again"
                ) from error
            if found is None:
                raise RequestError(f"model: version {of}: {file} holds no videos; run vidrd evaluate again")
            return found

        return decide(
            rows(version, MEASURES_FILE),
            None if champion is None else rows(champion, MEASURES_FILE),
            rows(version, REFERENCE_FILE),
            protocol,
            load_profile(profile).evaluation.gate,
        )


def _decide(registry: Registry, params: PromoteParams) -> dict[str, Any]:

    version, champion = _version(params), registry.alias_version(CHAMPION)
    if champion == version:
        return _unchanged(params.model, version)
    decision = verdict(registry, version, champion, params.profile)
    _version(params)  # again, after the minutes that comparing may take
    unlike = shown_differences(registry, version, champion)
    _record(registry, version, champion, decision, params.profile, unlike)
    if decision.promote:
        registry.set_alias(CHAMPION, version)
    result = {
        "model": params.model,
        "version": version,
        "promoted": decision.promote,
        "reason": decision.reason,
        "champion": version if decision.promote else champion,
        "champion_before": champion,
        "sampled_unlike": unlike,
        **decision.as_dict(),
    }
    shown = [f"- sampled unlike: {name} {markdown.text(values)}" for name, values in unlike.items()]
    create_markdown_artifact(
        "\n".join([decision_markdown(version, champion, decision), *shown]),
        key="promote",
        description="the gate",
    )
    return result


def _unchanged(model: str, version: int) -> dict[str, Any]:
    reason = f"Version {version} is the champion already."
    create_markdown_artifact(markdown.text(reason) + "\n", key="promote", description="nothing to decide")
    return {
        "model": model,
        "version": version,
        "promoted": False,
        "verdict": "unchanged",
        "reason": reason,
        "champion": version,
        "champion_before": version,
    }


def _roll_back(registry: Registry) -> dict[str, Any]:

    champion, before = _predecessor(registry)
    reason = f"Version {champion} was rolled back to its predecessor, version {before}."
    registry.set_version_tags(champion, PROMOTION.values("rolled back", reason, before))
    registry.set_alias(CHAMPION, before)
    create_markdown_artifact(markdown.text(reason) + "\n", key="promote", description="a rollback")
    return {
        "version": before,
        "promoted": False,
        "verdict": "rolled-back",
        "reason": reason,
        "champion": before,
        "champion_before": champion,
    }


def _predecessor(registry: Registry) -> tuple[int, int]:
    """The champion and the version that was champion before it."""

    champion = registry.alias_version(CHAMPION)
    if champion is None:
        raise RequestError(f"rollback: there is no champion at {registry.uri}")
    before = PROMOTION.champion_of(registry.version_tags(champion))
    if before is None:
        raise RequestError(f"rollback: version {champion} is the first champion; there is none before it")
    return champion, before


def _version(params: PromoteParams) -> int:
    from storage.registry.registry import resolve_model

    version = resolve_model(params.model).version
    if version is None:
        raise RequestError(f"model: {params.model} is a folder; only registered versions can be promoted")
    if params.evaluated_version not in (None, version):
        raise RequestError(
            f"model: {params.model} was version {params.evaluated_version} when it was evaluated and is now {version}; "
            "evaluate that one"
        )
    return version


def _common_setup(registry: Registry, version: int, champion: int | None) -> tuple[str, str]:
    """The set-up of the version's last evaluation, and the champion's that may be compared with it."""

    setup = registry.version_tags(version).get(SETUP_TAG)
    if setup is None:
        raise RequestError(f"model: version {version} has no recorded evaluation; run vidrd evaluate first")
    if champion is None:
        return setup, setup
    of_champion = champion_setup(registry, version, setup, champion)
    if of_champion is None:
        raise RequestError(
            f"model: the champion, version {champion}, was not evaluated as version {version} was (protocol, number, "
            "prompts, seeds, real clips, frame rate, frames, size); run vidrd evaluate --beside-champion"
        )
    return setup, of_champion


def _record(
    registry: Registry,
    version: int,
    champion: int | None,
    decision: Decision,
    profile: str,
    unlike: Mapping[str, str],
) -> None:
    """The decision as tags of the version and as a page among its files: why it is, or is not, champion."""
    from storage.local.json_files import write_json
    from storage.registry.evaluation_files import keep_evaluation
    from tasks.pages.decision import write_decision

    tags = registry.version_tags(version)
    setup = {name: value for name, value in tags.items() if name.startswith(EVALUATION_TAGS)}
    gate = load_profile(profile).evaluation.gate.model_dump()
    setup |= {f"gate.{name}": value for name, value in gate.items()}
    setup |= {f"sampling.{name}": values for name, values in unlike.items()}
    content = decision.as_dict() | {"candidate": version, "champion": champion, "setup": setup}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_json(folder / DECISION_FILE, content)
        write_decision(content, folder / DECISION_PAGE)
        keep_evaluation(registry, version, tags[SETUP_TAG], [folder / DECISION_FILE, folder / DECISION_PAGE])
    registry.set_version_tags(
        version, PROMOTION.values(_OUTCOMES[decision.verdict], decision.reason, champion)
    )


def decision_markdown(version: int, champion: int | None, decision: Decision, proposed: bool = False) -> str:
    """The verdict, or what it would be, and every figure of both, with the interval of their difference."""
    verdict_word = _WORDS[decision.verdict][proposed]
    beside = "none" if champion is None else f"version {champion}"
    about = f"Version {version} **{verdict_word}**: {markdown.text(decision.reason)}"
    if not decision.comparisons:
        return about + "\n"
    versions = f"champion ({beside})", f"candidate (version {version})"
    head = ("figure", "decides", *versions, "difference, 95% interval", "")
    rows = []
    for seen in decision.comparisons:
        before = "" if seen.champion is None else f"{seen.champion.value:.4g}"
        difference = ""
        if seen.difference is not None:
            difference = (
                f"{seen.difference.value:.4g} ({seen.difference.low:.4g} to {seen.difference.high:.4g})"
            )
        mark = "" if seen.role == "shown" else ("passes" if seen.passes else "fails")
        rows.append((seen.name, seen.role, before, f"{seen.candidate.value:.4g}", difference, mark))
    return "\n".join([about, "", *markdown.table(head, rows)]) + "\n"
