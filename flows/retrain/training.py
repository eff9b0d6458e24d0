"""A retraining without Prefect, from its request to its version: what runs, is logged, registered and proposed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows.cut_captions import say_what_is_cut
from flows.profile_choice import PROFILE_TAG, note_of_profile
from flows.retrain.mlflow_watcher import MlflowWatcher
from flows.retrain.proposal import propose
from flows.retrain.report import as_markdown
from flows.retrain.request import RetrainRequest
from flows.runs.artifacts import log_line, show_markdown
from flows.runs.progress import stage_progress
from flows.terminal import tell
from storage.local.home import home
from storage.registry.names import CANDIDATE, version_ref
from storage.registry.registry import Registry
from storage.registry.runs import Run
from tasks import markdown
from tasks.captions.cut_captions import CONDITIONING, count_cut
from tasks.generation.resolve import save_sampling
from tasks.training.model_card import Lineage, TrainedPart, clip_size, write_model_card
from tasks.training.progress import name_skipped
from tasks.training.record import TrainingRecord
from tasks.training.result import TrainingResult
from tasks.training.settings import Part
from tasks.training.train import train_part


def run(request: RetrainRequest) -> dict[str, Any]:
    """Trains and registers, unless the request says that there is nothing new; evaluates the result where asked.

    Returns what there is to tell. Raises RequestError when the same training goes on in another process.
    """
    if request.nothing_new is not None:
        announce(request.nothing_new)
        reason = f"{markdown.text(request.nothing_new)}\n"
        show_markdown(reason, key="retrain", description="nothing to train")
        return {"trained": False, "reason": request.nothing_new, **request.tags()}
    cut = cut_captions(request)
    say_what_is_cut("retrain", cut)
    result = train_and_register(request) | {"cut_captions": cut}
    about = "a new candidate" if result["registered"] else "no new candidate"
    show_markdown(as_markdown(result), key="retrain", description=about)
    if request.params.then_evaluate and result["registered"]:
        result["proposal"] = propose(result["version"], request)
    return result


def cut_captions(request: RetrainRequest) -> dict[str, Any]:
    """Counts the captions to be trained on that the text encoder reads in part; a decoder is trained on none."""
    if "temporal" not in request.parts:
        return {}
    texts = request.dataset.clips.read(["caption"])["caption"].to_pylist()
    return count_cut(request.start, request.profile.clip, {CONDITIONING: texts})


def train_and_register(request: RetrainRequest) -> dict[str, Any]:
    """Trains what is asked for, or goes on with it, and registers the result as `candidate`.

    A part that came out no better and is left out (the decoder) is no reason not to register the other; where nothing
    else was trained, nothing is registered, and `reason` says so. Raises RequestError when the same training goes on
    in another process.
    """
    started_s = time.monotonic()
    registry = Registry()
    with TrainingRecord.open(home() / "training", request.config(), request.params.fresh) as record:
        _reconcile_earlier_run(registry, record)
        if record.resumed:
            announce(
                f"resumes the training of {request.dataset_ref} begun at {record.started_at}; --fresh begins anew"
            )
        tags = {**request.tags(), "training": record.folder.name}
        with registry.start_run("retrain", tags, record.run_id) as run:
            record.note_run(run.run_id)
            run.log_params({**request.settings, **request.tags(), "git_commit": _commit(run)})
            results = _train_parts(request, record.folder, run)
            nothing_kept = not any(trained.kept for trained in results.values())
            version = None if nothing_kept else _register(registry, request, results, run)
            commit = _commit(run)
        # Only now: a crash before this line leaves a training that is found and taken to its end.
        resumed = record.resumed
        record.finish()
    return {
        "trained": True,
        **_registered(version, results),
        "run_id": run.run_id,
        "resumed": resumed,
        **request.tags(),
        "git_commit": commit,
        "parts": {part: trained.summary() for part, trained in results.items()},
        "curves": {part: list(enumerate(trained.curves["loss"])) for part, trained in results.items()},
        "seconds": round(time.monotonic() - started_s, 2),
    }


def _registered(version: int | None, results: Mapping[Part, TrainingResult]) -> dict[str, Any]:
    """Returns what the answer says of the version, or why there is none; announces each part that was left out."""
    left_out = {part: f"{part}: {trained.outcome}" for part, trained in results.items() if not trained.kept}
    if version is None:
        reason = f"{'; '.join(left_out.values())}; nothing is registered"
        announce(reason)
        return {"registered": False, "reason": reason}
    for part, line in left_out.items():
        announce(f"{line}; the model keeps the {part} that it had")
    return {
        "registered": True,
        "model": version_ref(version),
        "version": version,
        "alias": CANDIDATE,
    }


def announce(line: str) -> None:
    """Writes one line for whoever looks: into the terminal, and into the log of the flow run."""
    tell(f"[retrain] {line}")
    log_line(line)


def _reconcile_earlier_run(registry: Registry, record: TrainingRecord) -> None:
    """Makes the MLflow runs of earlier processes agree with the record."""
    if record.run_id is not None:
        status = registry.run_status(record.run_id)
        if status == "FINISHED":  # it was registered, and only its folder is left of it
            record.begin_anew()
            return
        if status is None:
            record.run_id = None
    if record.abandoned_run_id is not None:
        registry.end_run(record.abandoned_run_id)


def _train_parts(request: RetrainRequest, folder: Path, run: Run) -> dict[Part, TrainingResult]:
    results: dict[Part, TrainingResult] = {}
    model = request.start
    for part in request.parts:
        results[part] = _train(part, request, model, folder / part, run)
        model = str(results[part].folder)
    return results


def _train(part: Part, request: RetrainRequest, model: str, work_dir: Path, run: Run) -> TrainingResult:
    """Trains one part, or goes on with it; its figures reach the run under the part's name while it goes on."""
    work_dir.mkdir(exist_ok=True)
    watcher = MlflowWatcher(run, part)
    with stage_progress(f"retrain {part}") as on_progress:
        result = train_part(request.job(part, model), work_dir, watcher, on_progress)
    # What the run has of it already is left out; what a crash has kept from it comes now.
    watcher.figures(result.points())
    watcher.close()
    for whose, figures in result.heldout.items():
        run.log_metrics([(0, {f"{part}.heldout.{name}.{whose}": v for name, v in figures.items()})])
    for note in result.notes:
        announce(f"{part}: {note}")
    tags = {
        "heldout_source": result.heldout_source,
        "notes": "; ".join(result.notes),
        "outcome": result.outcome if result.kept else f"{result.outcome}; left out of the model",
    }
    if result.skipped:
        tags["skipped"] = name_skipped(result.skipped)
        announce(f"{part}: {len(result.skipped)} steps changed nothing; not finite were {tags['skipped']}")
    run.set_tags({f"{part}.{name}": value for name, value in tags.items()})
    return result


def _register(
    registry: Registry, request: RetrainRequest, results: Mapping[Part, TrainingResult], run: Run
) -> int:
    folder = list(results.values())[-1].folder
    save_sampling(folder, request.profile.sampling, clip_size(folder, request.dataset))
    lineage = Lineage(
        profile=request.profile.name,
        base=request.profile.model,
        base_licence=request.profile.model_licence,
        start=request.start_ref,
        git_commit=_commit(run),
        parts={part: TrainedPart(request.part_settings(part), result) for part, result in results.items()},
    )
    card = write_model_card(folder, request.dataset, lineage)
    left_out = {f"{part}.left_out": trained.outcome for part, trained in results.items() if not trained.kept}
    tags = {**request.tags(), **left_out, "git_commit": _commit(run)}
    tags[PROFILE_TAG] = note_of_profile(request.profile)
    return registry.register(folder, run, tags, card)


def _commit(run: Run) -> str:
    """Returns the code's commit; of a training that went on with other code, both."""
    tags = run.tags()
    first, last = tags["git_commit"], tags.get("git_commit_resumed")
    return first if last in (None, first) else f"{first}, then {last}"
