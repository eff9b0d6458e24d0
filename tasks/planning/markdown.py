"""Writes a plan as a page of Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tasks import markdown
from tasks.units import duration, size

HOUR_S = 3600
_CORPUS_HEAD = (
    "corpus", "kind", "sources", "sampled", "failed", "clips a source", "kept", "bytes a source", "time a source"
)  # fmt: skip


def as_markdown(plan: Mapping[str, Any]) -> str:
    """Writes tables of totals, stages and corpora, then the assumptions."""
    lines = [
        f"# {plan['sources']:,} sources, profile {markdown.text(plan['profile'])}",
        f"Measured on {markdown.text(plan['measured_on'])}. For {_machines(plan['machines'])}:",
        "",
    ]
    totals = [
        _row("time", plan["hours"], _hours),
        *(_row(f"time of the {on}s", hours, _hours) for on, hours in plan["hours_by_resource"].items()),
        _row("clips made", plan["clips"], _count),
        _row("clips kept", plan["clips_kept"], _count),
        _row("storage", plan["bytes"], size),
    ]
    if plan["cost"] is not None:
        totals.append(_row("cost", plan["cost"], lambda cost: f"{cost:,.2f}"))
    stages = [
        (name, stage["on"], _hours(stage["hours_of_one"]["value"])) for name, stage in plan["stages"].items()
    ]
    lines += markdown.table(("", "estimate", "low", "high"), totals, numbers=True)
    lines += ["", _limit(plan), ""]
    lines += markdown.table(("stage", "on", "of one core or GPU"), stages, numbers=True)
    lines += ["", *markdown.table(_CORPUS_HEAD, map(_corpus, plan["corpora"]), numbers=True)]
    lines += ["", "Assumed:", *(f"- {markdown.text(assumption)}" for assumption in plan["assumptions"])]
    return "\n".join(lines)


def _row(name: str, estimate: Mapping[str, float], show: Callable[[float], str]) -> tuple[str, ...]:
    return name, show(estimate["value"]), show(estimate["low"]), show(estimate["high"])


def _hours(hours: float) -> str:
    return duration(hours * HOUR_S)


def _count(number: float) -> str:
    return f"{number:,.0f}"


def _machines(machines: Mapping[str, Any]) -> str:
    gpus = f" and {machines['gpus']} GPUs" if machines["gpus"] else ", no GPU"
    return f"{machines['cpus']} cores{gpus}"


def _limit(plan: Mapping[str, Any]) -> str:
    limit, enough = plan["limit"], plan["enough"]
    if limit["stage"] is None:
        return "No stage took any time: no source of the sample could be used."
    stage = markdown.code(limit["stage"])
    told = f"The limit is {stage}, {100 * limit['share']:.0f} % of the time of the {limit['on']}s."
    if enough is None:
        return told
    machines = plan["machines"]
    return (
        f"{told} {enough['gpus']} GPUs would keep up with {machines['cpus']} cores, "
        f"{enough['cpus']} cores with {machines['gpus']} GPUs."
    )


def _corpus(corpus: Mapping[str, Any]) -> tuple[object, ...]:
    kept = "\u2013" if corpus["kept_share"] is None else f"{100 * corpus['kept_share']:.0f} %"
    return (
        corpus["name"],
        corpus["kind"],
        f"{corpus['sources']:,}",
        corpus["sampled"],
        corpus["failed"],
        f"{corpus['clips_per_source']:.2f}",
        kept,
        size(corpus["bytes_per_source"]),
        f"{1000 * sum(corpus['seconds_per_source'].values()):.0f} ms",
    )
