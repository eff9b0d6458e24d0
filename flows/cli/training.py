"""`vidrd retrain`: a dataset to a registered candidate."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from flows.cli.answer import answer
from flows.cli.command import run_flow
from flows.cli.common import given
from flows.cli.options import DatasetProfileOption
from flows.environment import prepare
from flows.surroundings import check_surroundings
from flows.terminal import tell


def retrain(
    dataset: Annotated[
        str | None, typer.Option(metavar="DIR[@TAG]", help="By default datasets/PROFILE under VIDRD_HOME.")
    ] = None,
    part: Annotated[
        str | None, typer.Option(metavar="temporal|decoder|both", help="By default both.")
    ] = None,
    trainable: Annotated[
        str | None, typer.Option(metavar="temporal|paper|all|lora", help="Which UNet weights are trained.")
    ] = None,
    start_from: Annotated[
        str | None, typer.Option(metavar="base|champion", help="By default the profile's base model.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Give up an interrupted training of the same settings.")
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only measure a few steps: memory, steps per epoch, time.")
    ] = False,
    profile: DatasetProfileOption = None,
) -> None:
    """Fine-tunes on a dataset with Ray Train.

    The result is logged and registered in MLflow as `candidate`. After an interruption the same command goes on.

    \b
    Example: vidrd retrain --dataset runs/datasets/tiny --part temporal
    """
    values = {
        "dataset": dataset,
        "part": part,
        "trainable": trainable,
        "start_from": start_from,
        "fresh": fresh,
        "profile": profile,
    }
    if plan:
        _show_retrain_plan(values)
        return
    run_flow("retrain", **values)


def _show_retrain_plan(values: dict[str, Any]) -> None:
    """Prints what the retraining would take."""
    prepare()
    check_surroundings()
    from flows.retrain.request import RetrainParams, read_request

    asked = {name: value for name, value in values.items() if value is not None}
    params = RetrainParams(**asked, set=given().changes)
    request = read_request(params, only_plan=True)
    from flows.retrain.plan import as_markdown, plan

    estimates = plan(request)
    if given().as_json:
        answer({"plan": [asdict(estimate) for estimate in estimates]})
    else:
        tell(as_markdown(estimates, request).rstrip("\n"), error=False)
