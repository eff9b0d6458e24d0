"""Retraining: a dataset to a registered candidate model.

vidrd retrain --dataset runs/datasets/tiny --part both
prefect deployment run retrain/retrain
"""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.cut_captions import say_what_is_cut
from flows.retrain.request import RetrainParams, RetrainRequest, nothing_new, read_request
from flows.retrain.training import say, train_and_register
from flows.runs.failures import tells_why
from tasks import markdown

__all__ = ["RetrainParams", "check", "retrain"]


def check(params: RetrainParams) -> None:
    """Raises RequestError or StorageError with one line when the request cannot be carried out."""
    from storage.registry.registry import Registry

    read_request(params)
    Registry().check_artifacts()


@flow(name="retrain")
@tells_why
def retrain(params: RetrainParams = RetrainParams()) -> dict:  # noqa: B008 (Prefect shows it as the default)
    """Trains on Ray, logs curves and held-out losses, and registers the result as `candidate`.

    A decoder that came out no better than it was is left out; where nothing else was trained nothing is registered.
    An interrupted training of the same configuration goes on where it stopped, in its own MLflow run.
    """
    request = read_request(params)
    if params.only_if_new and (reason := _nothing_new(request)):
        say(reason)
        create_markdown_artifact(f"{markdown.text(reason)}\n", key="retrain", description="nothing to train")
        return {"trained": False, "reason": reason, **request.tags()}
    cut = cut_captions(request)
    say_what_is_cut("retrain", cut)
    result = train_and_register(request) | {"cut_captions": cut}
    about = "a new candidate" if result["registered"] else "no new candidate"
    create_markdown_artifact(_as_markdown(result), key="retrain", description=about)
    if params.then_evaluate and result["registered"]:
        from flows.retrain.proposal import propose

        result["proposal"] = propose(result["version"], params.profile, params.reference)
    return result


def cut_captions(request: RetrainRequest) -> dict[str, Any]:
    """How many of the captions to be trained on the text encoder reads in part; a decoder is trained on none."""
    from tasks.captions.cut_captions import CONDITIONING, count_cut

    if "temporal" not in request.parts:
        return {}
    texts = request.dataset.clips_table(["caption"])["caption"].to_pylist()
    return count_cut(request.start, request.profile.clip, {CONDITIONING: texts})


def _nothing_new(request: RetrainRequest) -> str | None:
    from storage.registry.registry import Registry

    finished = Registry().finished_trainings(request.dataset_folder, request.profile.name)
    return nothing_new(request, finished)


def _as_markdown(result: dict[str, Any]) -> str:
    model = markdown.text(result.get("reason", ""))
    if result["registered"]:
        model = f"{markdown.code(result['model'])} ({result['alias']})"
    lines = [
        f"{model}, trained on {markdown.code(result['dataset'] + '@' + result['dataset_tag'])}",
        "",
    ]
    head = ("part", "steps", "seconds", "first loss", "last loss", "held-out: fresh", "base", "candidate")
    rows = []
    for part, figures in result["parts"].items():
        heldout = [f"{figures['heldout'][whose]['loss']:.4f}" for whose in ("fresh", "base", "candidate")]
        losses = [f"{figures[name]:.4f}" for name in ("first_loss", "last_loss")]
        cells = [part, str(figures["steps"]), f"{figures['seconds']:.0f}", *losses, *heldout]
        rows.append(cells)
    lines += markdown.table(head, rows, numbers=True)
    sources = {part: figures["heldout_source"] for part, figures in result["parts"].items()}
    lines += ["", *(f"Held out for {part}: {markdown.text(source)}." for part, source in sources.items())]
    left_out = [part for part, figures in result["parts"].items() if not figures["kept"]]
    lines += [f"The {part} came out no better than it was and was left out." for part in left_out]
    return "\n".join(lines) + "\n"
