"""Prefect plugin: what `prefect` learns when it runs inside this repository.

Flows and deployments carry the same name, so `prefect deployment run build-dataset` can stand for
`build-dataset/build-dataset`; while `vidrd up` runs, its server is found without an export; and a server of
ours is told its secret. Prefect calls the hook at import because pyproject.toml enables plugins ([tool.prefect])
and registers this one.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.plugins import HookContext, SetupResult, register_hook

from flows.environment import let_loopback_pass

RUN_LOG = "VIDRD_RUN_LOG"


def full_name(name: str) -> str:
    """Returns `flow/deployment`; a bare name stands for the flow and the deployment of that name."""
    return name if "/" in name else f"{name}/{name}"


@register_hook
def setup_environment(*, ctx: HookContext) -> SetupResult | None:
    """Accepts bare deployment names, finds a running `vidrd up` if no server is set, and signs in to ours."""
    let_loopback_pass()
    logger = ctx.logger_factory("prefect.plugins.vidrd")
    accept_bare_names(logger)
    if "worker" in sys.argv:
        from flows.runs.cancelled_runs import no_crash_of_cancelled_runs

        no_crash_of_cancelled_runs(logger)
    write_output_to_own_log()
    tell_failures_before_the_flow()
    if not ctx.api_url and "server" in sys.argv[1:]:
        return None  # `prefect server start` by hand: a secret that its user does not know would lock it
    from prefect.settings import get_current_settings

    from flows.runs.prefect_access import environment

    found = environment(ctx.api_url, get_current_settings().server.api.auth_string is not None)
    return SetupResult(env=found) if found else None


def write_output_to_own_log() -> None:
    """Lets a run of `vidrd up` write to a log instead of its worker's pipe, which a killed worker would break."""
    run = os.environ.get("PREFECT__FLOW_RUN_ID")
    if run is None or RUN_LOG not in os.environ:
        return
    from flows.up.logs import open_log

    # Taken out, since it is for the run's own process and not for what that starts.
    with open_log(Path(os.environ.pop(RUN_LOG)), f"run {run}") as output:
        for descriptor in (1, 2):
            os.dup2(output.fileno(), descriptor)


def tell_failures_before_the_flow() -> None:
    """Lets a run say why it failed where Prefect would tell an exit code only."""
    try:
        run = UUID(os.environ.get("PREFECT__FLOW_RUN_ID", ""))
    except ValueError:
        return
    from flows.runs.early_failures import tell_early_failures

    tell_early_failures(run)


def accept_bare_names(logger: Any) -> None:
    """Wraps the clients' look-up by name; where Prefect has moved it, only the full name keeps working."""
    try:
        from prefect.client.orchestration._deployments import client as deployments

        for owner in (deployments.DeploymentClient, deployments.DeploymentAsyncClient):
            lookup = owner.read_deployment_by_name
            if not hasattr(lookup, "__wrapped__"):
                owner.read_deployment_by_name = _with_full_name(lookup)  # type: ignore[method-assign]
    except (ImportError, AttributeError) as error:
        logger.debug("bare deployment names are off, use FLOW/DEPLOYMENT: %s", error)


def _with_full_name(lookup: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(lookup)
    def read_deployment_by_name(self: Any, name: str) -> Any:
        return lookup(self, full_name(name))

    return read_deployment_by_name
