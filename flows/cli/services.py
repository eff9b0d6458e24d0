"""`vidrd up` and `vidrd down`: the servers, the deployments and a worker on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli.answer import answer
from flows.cli.common import given
from flows.cli.interrupts import unwatch
from flows.environment import prepare
from flows.surroundings import check_prefect_database, check_surroundings
from flows.terminal import tell
from flows.up.default_ports import MLFLOW_PORT, PREFECT_PORT
from storage.local.home import home


def up(
    prefect_port: Annotated[int, typer.Option(min=1, max=65535)] = PREFECT_PORT,
    mlflow_port: Annotated[int, typer.Option(min=1, max=65535)] = MLFLOW_PORT,
    no_schedules: Annotated[
        bool, typer.Option("--no-schedules", help="Switch all schedules off until the next vidrd up.")
    ] = False,
) -> None:
    """Runs the servers, the deployments and a worker.

    Prefect and MLflow on 127.0.0.1, until interrupted. What dies is started again; what a killed one has left is
    ended at the next start, or by vidrd down.

    \b
    Example: vidrd up
    """
    from flows.up.supervisor import up as start

    unwatch()  # it takes its time to end what it serves
    prepare()
    check_surroundings()
    check_prefect_database()
    start(prefect_port, mlflow_port, schedules=not no_schedules)
    if given().as_json:
        answer({"home": str(home())})


def down() -> None:
    """Ends a running vidrd up, or what is left of a killed one.

    Only processes that a vidrd up of this VIDRD_HOME has started, each named.

    \b
    Example: vidrd down
    """
    from flows.up.down import down as end_all

    ended = end_all()
    if given().as_json:
        answer({"ended": ended, "home": str(home())})
        return
    for line in ended or [f"nothing of vidrd up runs for {home()}"]:
        tell(line, error=False)
