"""From a sample to a corpus of any size: hours, bytes, money and the stage that limits, with their ranges."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, variance
from typing import Any

from tasks.planning.measure import CorpusSample, Measured, SourceCost

HOUR_S = 3600.0
Value = Callable[[SourceCost], float]
STANDARD_ERRORS = 2.0  # either side of an estimate


@dataclass(frozen=True)
class Machines:
    """What the build would run on, and what an hour of one core and of one GPU costs.

    `gpu_speedup` is how much faster a planned GPU is than what the models were measured on.
    """

    cpus: int
    gpus: int
    gpu_speedup: float = 1.0
    cpu_price: float | None = None
    gpu_price: float | None = None


@dataclass(frozen=True)
class CostRange:
    """A total and the range that the sample's spread leaves it."""

    value: float
    low: float
    high: float

    def times(self, factor: float) -> CostRange:
        """Gives the same in another unit."""
        return CostRange(self.value * factor, self.low * factor, self.high * factor)


def extrapolate(measured: Measured, sources: int, machines: Machines) -> dict[str, Any]:
    """Gives the plan as plain JSON; every total is linear in the number of sources, which keep the corpora's shares."""
    samples = measured.samples

    def total(value: Value) -> CostRange:
        return estimate(samples, sources, value)

    stages = _stage_totals(samples, machines, total)
    hours = _hours(machines, total)
    wall_h = CostRange(
        *(max(getattr(one, name) for one in hours.values()) for name in ("value", "low", "high"))
    )
    return {
        "sources": sources,
        "machines": asdict(machines),
        "hours": asdict(wall_h),
        "hours_by_resource": {resource: asdict(value) for resource, value in hours.items()},
        "limit": _limit(max(hours, key=lambda resource: hours[resource].value), stages),
        "enough": _enough(machines, total(_decoder_s()).value, total(_models_s(machines)).value),
        "stages": {
            name: {"on": resource, "hours_of_one": asdict(seconds.times(1 / HOUR_S))}
            for name, (resource, seconds) in stages.items()
        },
        "clips": asdict(total(lambda cost: cost.clips)),
        "clips_kept": asdict(total(lambda cost: cost.kept)),
        "bytes": asdict(total(lambda cost: cost.row_bytes)),
        "cost": _cost(machines, wall_h),
        "corpora": [_corpus(sample, samples, sources) for sample in samples],
    }


def estimate(samples: Sequence[CorpusSample], sources: int, value: Value) -> CostRange:
    """Gives the total of a value over all sources, two standard errors of its mean either side, never below zero.

    Each corpus is a stratum of its own. A corpus with a single sampled source is taken to vary by its mean.
    """
    known = sum(sample.sources for sample in samples)
    total = squared_error = 0.0
    for sample in samples:
        planned = sources * sample.sources / known
        values = [value(cost) for cost in sample.costs]
        mean = fmean(values)
        spread = variance(values) if len(values) > 1 else mean**2
        total += planned * mean
        squared_error += planned**2 * spread / len(values)
    margin = STANDARD_ERRORS * math.sqrt(squared_error)
    return CostRange(total, max(0.0, total - margin), total + margin)


def _decoder_s(stage: str | None = None) -> Value:
    """Gives the seconds of a core that the decoder took for a stage, or for all."""
    return lambda cost: sum(s for name, s in cost.decoder_s.items() if stage in (None, name))


def _models_s(machines: Machines, stage: str | None = None) -> Value:
    """Gives the seconds of a planned GPU, or of a core where there is none, for a stage of the models, or for all."""
    return lambda cost: (
        sum(s for name, s in cost.models_s.items() if stage in (None, name)) / machines.gpu_speedup
    )


def _stage_totals(
    samples: Sequence[CorpusSample], machines: Machines, total: Callable[[Value], CostRange]
) -> dict[str, tuple[str, CostRange]]:
    """Gives each stage's resource and its seconds of one core or GPU."""
    models_on = "gpu" if machines.gpus else "cpu"
    totals = {stage: ("cpu", total(_decoder_s(stage))) for stage in _stages(samples, "decoder_s")}
    scored = {stage: (models_on, total(_models_s(machines, stage))) for stage in _stages(samples, "models_s")}
    return totals | scored


def _hours(machines: Machines, total: Callable[[Value], CostRange]) -> dict[str, CostRange]:
    """Hours by resource when all of its machines share the work."""
    decoder, models = _decoder_s(), _models_s(machines)
    if not machines.gpus:
        return {"cpu": total(lambda cost: decoder(cost) + models(cost)).times(1 / HOUR_S / machines.cpus)}
    return {
        "cpu": total(decoder).times(1 / HOUR_S / machines.cpus),
        "gpu": total(models).times(1 / HOUR_S / machines.gpus),
    }


def _stages(samples: Sequence[CorpusSample], which: str) -> list[str]:
    """Gives the stages met, in the order of the work."""
    costs: Iterable[SourceCost] = (cost for sample in samples for cost in sample.costs)
    return list(dict.fromkeys(stage for cost in costs for stage in getattr(cost, which)))


def _limit(resource: str, stages: dict[str, tuple[str, CostRange]]) -> dict[str, Any]:
    """Gives the slowest stage of the resource that takes longest, and its part of that resource's time."""
    mine = {name: seconds.value for name, (on, seconds) in stages.items() if on == resource}
    together = sum(mine.values())
    if not together:
        return {"on": resource, "stage": None, "share": None}
    stage = max(mine, key=lambda name: mine[name])
    return {"on": resource, "stage": stage, "share": mine[stage] / together}


def _enough(machines: Machines, decoder_s: float, models_s: float) -> dict[str, int] | None:
    """Gives the fewest GPUs that keep up with the cores given, and cores with the GPUs; None without a GPU."""
    if not machines.gpus or not decoder_s or not models_s:
        return None
    return {
        "gpus": max(1, math.ceil(models_s * machines.cpus / decoder_s)),
        "cpus": max(1, math.ceil(decoder_s * machines.gpus / models_s)),
    }


def _cost(machines: Machines, wall_h: CostRange) -> dict[str, float] | None:
    """Gives all machines for the whole time, in the currency of the prices; None without a price."""
    if machines.cpu_price is None and machines.gpu_price is None:
        return None
    per_hour = machines.cpus * (machines.cpu_price or 0.0) + machines.gpus * (machines.gpu_price or 0.0)
    return asdict(wall_h.times(per_hour))


def _corpus(sample: CorpusSample, samples: Sequence[CorpusSample], sources: int) -> dict[str, Any]:
    """One corpus: what a source of it costs and gives on average."""
    costs, number = sample.costs, len(sample.costs)
    clips, kept = sum(cost.clips for cost in costs), sum(cost.kept for cost in costs)
    return {
        "name": sample.name,
        "kind": sample.kind,
        "sources": round(sources * sample.sources / sum(other.sources for other in samples)),
        "sampled": number,
        "failed": sum(cost.failed for cost in costs),
        "clips_per_source": clips / number,
        "kept_share": kept / clips if clips else None,
        "bytes_per_source": sum(cost.row_bytes for cost in costs) / number,
        "seconds_per_source": {
            stage: fmean([cost.decoder_s.get(stage, 0.0) + cost.models_s.get(stage, 0.0) for cost in costs])
            for stage in [*_stages([sample], "decoder_s"), *_stages([sample], "models_s")]
        },
    }
