"""Carries a build out and shows what came of it: the summary, the quarantine, the captions that are cut."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows.build_dataset.request import BuildDatasetRequest
from flows.cut_captions import say_what_is_cut
from flows.runs.artifacts import log_line, show_markdown, show_table
from flows.runs.progress import stage_progress
from flows.terminal import tell
from storage.dataset.clip_dataset import ClipDataset
from tasks import markdown
from tasks.corpora.config import read_corpora
from tasks.corpora.look import Look
from tasks.errors import RequestError
from tasks.ingest.run import build, refilter
from tasks.ingest.summary import BuildSummary, ProfileUsed
from tasks.ingest.thresholds import SET_HERE
from tasks.tiny.world.corpora import shared_world

SHOWN_QUARANTINE = 200
"""Quarantined sources listed in the artifact; all of them are in quarantine.lance."""


def run(request: BuildDatasetRequest) -> dict[str, Any]:
    """Runs the build and returns what it counted; RequestError when the dataset is without a clip and may not be."""
    dataset_dir = request.target.dataset_dir
    if request.note is not None:
        log_line(request.note)  # the command has printed it before it came here
    summary = _build(request)
    result = {"dataset": str(dataset_dir), **summary.as_dict()}
    _show(result, dataset_dir)
    if summary.dataset_clips == 0 and not request.params.allow_empty:
        more = f"; {request.note}" if request.note else ""
        raise RequestError(_why_nothing_was_kept(summary, dataset_dir) + more)
    return result


def _build(request: BuildDatasetRequest) -> BuildSummary:
    params, profile = request.params, request.profile
    with stage_progress("build-dataset") as on_progress:
        of_both: dict[str, Any] = {
            "asked": request.asked,
            "allow_empty": params.allow_empty,
            "profile": ProfileUsed(profile.name, profile.source, profile.changes, profile.content()),
            "on_progress": on_progress,
        }
        if params.action == "refilter":
            return refilter(request.target, request.recipe, **of_both)
        return build(
            request.corpora or read_corpora(shared_world(), request.recipe.captions_needed),
            request.target,
            request.recipe,
            prune=params.prune,
            retry_quarantine=params.action == "retry-quarantine",
            on_looked=_say_what_was_found,
            **of_both,
        )


def _say_what_was_found(looks: Sequence[Look]) -> None:
    """Tells before the work what lies in each corpus, and by which words its captions were found."""
    for look in looks:
        for line in look.as_lines():
            tell(line)
            log_line(line)


def _why_nothing_was_kept(summary: BuildSummary, dataset_dir: Path) -> str:
    dataset = ClipDataset.open(dataset_dir)
    reasons = []
    if summary.dataset_rejected:
        scores = [
            score
            for score in dataset.rejected.read(["clip_score"])["clip_score"].to_pylist()
            if score is not None
        ]
        best = f", best CLIP score {max(scores):.2f}, {_threshold_told(summary)}" if scores else ""
        reasons.append(f"{summary.dataset_rejected} clips rejected{best}")
    if summary.dataset_quarantined:
        errors = Counter(dataset.quarantine.read(["error"])["error"].to_pylist())
        reasons.append(
            f"{summary.dataset_quarantined} sources quarantined, mostly: {errors.most_common(1)[0][0]}"
        )
    return (
        f"dataset: {dataset_dir} holds no clip: of {summary.read} sources nothing was kept ({'; '.join(reasons)}); "
        f"vidrd dataset info {shlex.quote(str(dataset_dir))} lists them"
    )


def _threshold_told(summary: BuildSummary) -> str:
    origin = f" ({SET_HERE})" if "clip_threshold" in summary.thresholds_set else ""
    return f"threshold {summary.filter['clip_threshold']}{origin}"


def _show(result: dict[str, Any], dataset_dir: Path) -> None:
    """Puts the summary and the quarantine where an operator looks: the run's log and artifacts."""
    log_line(
        f"{result['tag']}: {result['skipped']} of {result['read']} sources were done already; new: {result['kept']} "
        f"clips kept, {sum(result['rejected'].values())} rejected, {result['quarantined']} sources quarantined; "
        f"{result['dataset_clips']} clips in all"
    )
    if result["unread"]:
        most_first = sorted(result["unread"].items(), key=lambda item: (-item[1], item[0]))
        log_line(
            "files of the corpora that are not read: "
            + ", ".join(f"{n} {suffix}" for suffix, n in most_first)
        )
    if result["nudity"] is not None:
        log_line(f"nudity is judged by {result['nudity']['model']}, licence {result['nudity']['licence']}")
    say_what_is_cut("build-dataset", result["cut_captions"])
    show_markdown(as_markdown(result), key="build-dataset", description=f"build {result['tag']}")
    quarantine = ClipDataset.open(dataset_dir).quarantine
    count = quarantine.count_rows()
    if count:
        columns = ["corpus", "source_uri", "stage", "error", "attempts"]
        rows = quarantine.take(range(min(count, SHOWN_QUARANTINE)), columns).to_pylist()
        # Prefect's page takes the texts of a table's cells for Markdown.
        rows = [{name: markdown.text(value) for name, value in row.items()} for row in rows]
        show_table(rows, key="quarantine", description=f"of {count} quarantined sources")


def as_markdown(result: dict[str, Any]) -> str:
    """Gives the summary as an operator reads it, in Markdown."""
    counts = {
        "sources read": result["read"],
        "done already": result["skipped"],
        **{f"clips kept: {kind}": count for kind, count in result["kept_by_kind"].items()},
        **{f"clips rejected: {reason}": count for reason, count in result["rejected"].items()},
        **{f"sources quarantined: {stage}": n for stage, n in result["quarantined_by_stage"].items()},
        "clips encoded": result["encoded"],
        "clips scored anew": result["rescored"],
        "clips measured": result["measured"],
        "clips captioned by a model later": result["captioned"],
        "clips moved between kept and rejected": result["moved"],
        "sources vanished": result["vanished"],
        "clips in the dataset": result["dataset_clips"],
        **{f"{name}, {SET_HERE}": value for name, value in result["thresholds_set"].items()},
        **{f"captions cut for {role}": cut["cut"] for role, cut in (result["cut_captions"] or {}).items()},
    }
    seconds = ", ".join(f"{stage} {value} s" for stage, value in result["seconds"].items())
    title = markdown.code(f"{result['dataset']}@{result['tag']}")
    rows = markdown.table(("", ""), counts.items())
    return "\n".join([title, "", *rows, "", f"Time, stages summed over workers: {markdown.text(seconds)}"])
