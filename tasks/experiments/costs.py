"""Measures the costs of an experiment's variants, shortest video first, as far as memory and time allow."""

from __future__ import annotations

from dataclasses import asdict

from storage.local.json_files import read_json, write_json
from tasks.experiments.cost import Cost, measure_cost
from tasks.experiments.experiments import Experiment, Variant
from tasks.experiments.run import ExperimentContext, naming
from tasks.progress import OnProgress


def measure_costs(experiment: Experiment, context: ExperimentContext, on_progress: OnProgress) -> list[Cost]:
    """Returns the cost of each variant, in their order; what the context's folder has is not measured again.

    To be called while no pool holds the machine's processors. A method that has run out of memory, or would take longer
    than the time limit, is not tried at a greater length.
    """
    costs: list[Cost] = []
    last: dict[str, Cost] = {}
    for number, variant in enumerate(experiment.variants):
        naming(on_progress, experiment, number)(0, 1, "cost measured")
        cost = _not_worth_trying(variant, context, last.get(variant.label)) or _kept_cost(variant, context)
        last[variant.label] = cost
        costs.append(cost)
    return costs


def _not_worth_trying(variant: Variant, context: ExperimentContext, shorter: Cost | None) -> Cost | None:
    if shorter is None:
        return None
    if shorter.seconds_per_frame is None:
        return Cost(shorter.device, problem=f"not tried: {str(shorter.problem).removeprefix('not tried: ')}")
    expected_s = shorter.seconds_per_frame * variant.num_clips * context.base.num_frames
    if expected_s <= context.settings.time_limit_s:
        return None
    return Cost(shorter.device, problem=f"not tried: would take {expected_s:.0f} s and more")


def _kept_cost(variant: Variant, context: ExperimentContext) -> Cost:
    videos = context.videos(variant, 1, 0)
    folder = context.folder / "costs"
    kept = folder / f"{videos.digest()}.json"
    if (found := read_json(kept)) is not None:
        return Cost(**found)
    cost = measure_cost(
        context.model_dir, videos.prompts[0], videos.seeds[0], variant.num_clips, videos.sampling
    )
    if cost.problem is not None:  # what did not fit may fit another time
        return Cost(cost.device, problem=f"{cost.problem} at {variant.num_clips} clips")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(kept, asdict(cost))
    return cost
