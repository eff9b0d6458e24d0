"""How a command of the terminal runs a flow: read first, told in lines, ended with its result or one line."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from flows.cli.answer import answer
from flows.cli.common import given
from flows.environment import prepare
from flows.surroundings import check_surroundings

if TYPE_CHECKING:
    from flows.profile_choice import ProfileParams

_WORK = {"retrain": "training"}
"""The module of a flow's package that does its work, where it is not `run`."""


def run_flow(name: str, **values: Any) -> None:
    """Reads the request, does what the flow does, answers with its result; what is None keeps the flow's default.

    Where a Prefect server is set up the flow itself is run, so that the server records it. Without one the same work is
    done in this process: Prefect is neither imported nor started.
    """
    prepare()
    check_surroundings()
    asked = import_module(f"flows.{name}.request")
    given_values = {key: value for key, value in values.items() if value is not None}
    params = getattr(asked, _params_class(name))(**given_values, set=given().changes)
    request = asked.read_request(params)
    if given().dry_run:
        from flows.dry_run import would

        answer(would(name, request))
        return
    from flows.runs.server import server_address

    address = server_address()
    if address is None:
        result = import_module(f"flows.{name}.{_WORK.get(name, 'run')}").run(request)
    else:
        # Named, so that Prefect starts no server of its own should this one go away meanwhile. The terminal is for our
        # own progress lines: what went on in detail is in the run.
        os.environ["PREFECT_API_URL"] = address
        os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
        from flows.runs.recorded import run_recorded

        result = run_recorded(name, params, request)
    answer({name: value for name, value in result.items() if name != "curves"})  # those are in MLflow


def profile_params(profile: str | None) -> ProfileParams:
    """Gives the profile that was named, and what was set over it."""
    from flows.profile_choice import ProfileParams

    return ProfileParams(profile=profile, set=given().changes)


def _params_class(name: str) -> str:
    """The class of a flow's parameters: `build_dataset` has `BuildDatasetParams`."""
    return "".join(part.title() for part in name.split("_")) + "Params"
