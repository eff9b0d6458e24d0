"""What a flow would do with a request that has been read, told without doing it: `--dry-run` of the commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from storage.local.dry_run import scratch
from storage.local.home import home

if TYPE_CHECKING:
    from flows.ablate.request import AblateRequest
    from flows.build_dataset.request import BuildDatasetRequest
    from flows.evaluate.request import EvaluateRequest, ScoreVideosRequest
    from flows.generate.request import GenerateRequest
    from flows.promote.request import PromoteRequest, RollbackRequest
    from flows.retrain.request import RetrainRequest


def would(flow: str, request: Any) -> dict[str, Any]:
    """Gives what would be read and written; a source, a model or a registry may be looked at for it."""
    return {"dry_run": True} | _as_kept(_TOLD[flow](request))


def _as_kept(told: Any) -> Any:
    """The same, its paths those of what would be made where a dry run makes it in a folder that goes with it."""
    folder = scratch()
    if folder is None:
        return told
    if isinstance(told, dict):
        return {name: _as_kept(value) for name, value in told.items()}
    if isinstance(told, list):
        return [_as_kept(value) for value in told]
    return told.replace(str(folder), str(home())) if isinstance(told, str) else told


def _build(request: BuildDatasetRequest) -> dict[str, Any]:
    from flows.dataset.changes import changes

    told = {
        "action": request.params.action,
        "dataset": str(request.target.dataset_dir),
        "profile": request.profile.name,
        "thresholds_asked": dict(request.asked.values),
    }
    return told | changes(request)


def _retrain(request: RetrainRequest) -> dict[str, Any]:
    if request.nothing_new is not None:
        return {"would_train": [], "reason": request.nothing_new}
    return {
        "would_train": request.parts,
        "dataset": request.dataset_ref,
        "clips": len(request.dataset),
        "start": request.start_ref,
        "profile": request.profile.name,
        "registers_as": "candidate",
        "settings": request.settings,
    }


def _evaluate(request: EvaluateRequest | ScoreVideosRequest) -> dict[str, Any]:
    told = {
        "reference": str(request.reference),
        "profile": request.profile.name,
        "settings": request.settings.model_dump(mode="json", exclude={"gate"}),
    }
    from flows.evaluate.request import EvaluateRequest

    if not isinstance(request, EvaluateRequest):
        return {"would_score": str(request.videos.folder)} | told
    acts = {name: getattr(request.params, name) for name in ("beside_champion", "then_promote")}
    model = {"would_evaluate": request.model.ref, "version": request.model.version}
    return model | acts | told | {"sampling": request.sampling.as_dict()}


def _promote(request: PromoteRequest | RollbackRequest) -> dict[str, Any]:
    from flows.promote.request import RollbackRequest

    if isinstance(request, RollbackRequest):
        return {"would_be_champion": request.predecessor, "champion": request.champion}
    if request.setups is None:
        return {"verdict": "unchanged", "champion": request.champion}
    from flows.promote.verdict import decide_recorded
    from storage.registry.registry import Registry

    gate = request.profile.evaluation.gate
    decision = decide_recorded(Registry(), request.version, request.champion, request.setups, gate)
    return {
        "version": request.version,
        "champion": request.champion,
        "would_promote": decision.promote,
        **decision.as_dict(),
    }


def _generate(request: GenerateRequest) -> dict[str, Any]:
    return {
        "model": request.model.ref,
        "model_version": request.model.version,
        "would_write": [
            {"prompt": job.prompt, "seed": job.seed, "clips": request.clips, "file": str(job.out)}
            | ({"at": list(job.seconds)} if job.seconds else {})
            for place, job in enumerate(request.jobs)
            if place not in request.kept
        ],
        "would_keep": [str(request.jobs[place].out) for place in sorted(request.kept)],
        **({"loop": True} if request.loop else {}),
        "sampling": request.sampling.as_dict(),
    }


def _ablate(request: AblateRequest) -> dict[str, Any]:
    variants = [] if request.variants is None else request.variants.experiments
    return {
        "model": request.model.shown,
        "would_measure": [
            {"experiment": experiment.name, "variants": len(experiment.variants)} for experiment in variants
        ],
        "would_compare": [] if request.matrix is None else [model.shown for model in request.matrix.models],
        "videos_of_each": request.settings.num_videos,
    }


_TOLD: dict[str, Callable[[Any], dict[str, Any]]] = {
    "ablate": _ablate,
    "build_dataset": _build,
    "evaluate": _evaluate,
    "generate": _generate,
    "promote": _promote,
    "retrain": _retrain,
}
