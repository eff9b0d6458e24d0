"""Records a decision on a version: as tags, as files beside its evaluation, and as Markdown for the run."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from flows.promote.request import PromoteRequest
from storage.local.json_files import write_json
from storage.registry.evaluation_files import keep_evaluation
from storage.registry.names import EVALUATION_TAGS, PROMOTION, SETUP_TAG
from storage.registry.registry import Registry
from tasks import markdown
from tasks.evaluation.verdict import Decision
from tasks.pages.decision import write_decision

if TYPE_CHECKING:
    from tasks.evaluation.verdict import Verdict

DECISION_FILE, DECISION_PAGE = "decision.json", "decision.html"
_OUTCOMES: dict[Verdict, str] = {"promote": "promoted", "refuse": "refused", "cannot-judge": "cannot-judge"}
_WORDS: dict[Verdict, tuple[str, str]] = {  # where it was acted on, and where it is proposed
    "promote": ("is champion", "promote"),
    "refuse": ("stays candidate", "do not promote"),
    "cannot-judge": ("stays candidate, not judged", "cannot be judged"),
}


def record_decision(
    registry: Registry, request: PromoteRequest, decision: Decision, unlike: dict[str, str]
) -> None:
    """Keeps the decision as tags of the version and as a page among its files: why it is, or is not, champion."""
    tags = registry.version_tags(request.version)
    setup = {name: value for name, value in tags.items() if name.startswith(EVALUATION_TAGS)}
    gate = request.profile.evaluation.gate.model_dump()
    setup |= {f"gate.{name}": value for name, value in gate.items()}
    setup |= {f"sampling.{name}": values for name, values in unlike.items()}
    content = decision.as_dict() | {
        "candidate": request.version,
        "champion": request.champion,
        "setup": setup,
    }
    with tempfile.TemporaryDirectory() as name:
        files = [Path(name, DECISION_FILE), Path(name, DECISION_PAGE)]
        write_json(files[0], content)
        write_decision(decision, request.version, request.champion, setup, files[1])
        keep_evaluation(registry, request.version, tags[SETUP_TAG], files)
    outcome = _OUTCOMES[decision.verdict]
    registry.set_version_tags(request.version, PROMOTION.values(outcome, decision.reason, request.champion))


def decision_markdown(version: int, champion: int | None, decision: Decision, proposed: bool = False) -> str:
    """Returns the verdict, or what it would be, and every metric of both, with the interval of their difference."""
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
