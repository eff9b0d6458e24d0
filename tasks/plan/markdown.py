"""A plan as a page of markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tasks.report.page import duration, size

HOUR_S = 3600


def as_markdown(plan: Mapping[str, Any]) -> str:
    """Tables of totals, stages and corpora, then the assumptions."""
    lines = [
        f"# {plan['sources']:,} sources, profile {plan['profile']}",
        f"Measured on {plan['measured_on']}. For {_machines(plan['machines'])}:",
        "",
        "| | estimate | low | high |",
        "|---|---:|---:|---:|",
        _row("time", plan["hours"], _hours),
        *(_row(f"time of the {on}s", hours, _hours) for on, hours in plan["hours_by_resource"].items()),
        _row("clips made", plan["clips"], _count),
        _row("clips kept", plan["clips_kept"], _count),
        _row("storage", plan["bytes"], size),
    ]
    if plan["cost"] is not None:
        lines.append(_row("cost", plan["cost"], lambda cost: f"{cost:,.2f}"))
    lines += ["", _limit(plan), "", "| stage | on | of one core or GPU |", "|---|---|---:|"]
    for name, stage in plan["stages"].items():
        lines.append(f"| {name} | {stage['on']} | {_hours(stage['hours_of_one']['value'])} |")
    lines += [
        "",
        "| corpus | kind | sources | sampled | failed | clips a source | kept | bytes a source | time a source |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
        *(_corpus(corpus) for corpus in plan["corpora"]),
        "",
        "Assumed:",
        *(f"- {assumption}" for assumption in plan["assumptions"]),
    ]
    return "\n".join(lines)


def _row(name: str, estimate: Mapping[str, float], show: Callable[[float], str]) -> str:
    return f"| {name} | {show(estimate['value'])} | {show(estimate['low'])} | {show(estimate['high'])} |"


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
    told = f"The limit is `{limit['stage']}`, {100 * limit['share']:.0f} % of the time of the {limit['on']}s."
    if enough is None:
        return told
    machines = plan["machines"]
    return (
        f"{told} {enough['gpus']} GPUs would keep up with {machines['cpus']} cores, "
        f"{enough['cpus']} cores with {machines['gpus']} GPUs."
    )


def _corpus(corpus: Mapping[str, Any]) -> str:
    kept = "\u2013" if corpus["kept_share"] is None else f"{100 * corpus['kept_share']:.0f} %"
    return (
        f"| {corpus['name']} | {corpus['kind']} | {corpus['sources']:,} | {corpus['sampled']} | {corpus['failed']} "
        f"| {corpus['clips_per_source']:.2f} | {kept} | {size(corpus['bytes_per_source'])} "
        f"| {1000 * sum(corpus['seconds_per_source'].values()):.0f} ms |"
    )
