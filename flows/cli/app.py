"""The `vidrd` command: its parts put together, and how it ends; every subcommand's --help ends with an example.

    vidrd --help

Each command turns its options into the flow's Params and reads the request; only then it imports what is heavy. Wrong
requests end with one line and exit code 2.
"""

from __future__ import annotations

# isort: off - the first of all, since the others take half a second in which Ctrl-C may come
from flows.cli.interrupts import watch, watch_imports

watch_imports()
# isort: on

# ruff: noqa: E402
import signal
import sys
from typing import Annotated

import typer

from flows.cli.answer import answer_error
from flows.cli.build_dataset import build_dataset
from flows.cli.common import add_command
from flows.cli.dataset import dataset_app
from flows.cli.demo import demo
from flows.cli.doctor import doctor
from flows.cli.evaluation import ablate, evaluate, pages, promote
from flows.cli.generation import generate
from flows.cli.habits import with_ours
from flows.cli.profile import profile_app
from flows.cli.services import down, up
from flows.cli.training import retrain
from flows.cli.weights import weights_app
from flows.terminal import tell

app = typer.Typer(
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def root(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="The version, and nothing else.")] = False,
) -> None:
    """From folders of images and videos to a trained and promoted text-to-video model (VidRD)."""
    if version:
        from importlib.metadata import version as installed

        tell(f"vidrd {installed('vidrd')}", error=False)
        raise typer.Exit()
    if ctx.invoked_subcommand is None:
        tell(ctx.get_help(), error=False)


add_command(app, build_dataset, "build-dataset")
for command in (retrain, evaluate, promote, pages, generate, ablate, up, down, doctor, demo):
    add_command(app, command)
app.add_typer(dataset_app, name="dataset")
app.add_typer(weights_app, name="weights")
app.add_typer(profile_app, name="profile")

_INTERRUPTED = 128 + signal.SIGINT  # what typer makes of a KeyboardInterrupt


def main() -> None:
    """Entry point of the `vidrd` script."""
    interrupts = watch(["vidrd", *sys.argv[1:]])
    try:
        code = app(sys.argv[1:], standalone_mode=False)
        if interrupts.heard or code == _INTERRUPTED:
            raise KeyboardInterrupt
    except BaseException as error:  # our own become one line, all others are raised again
        if interrupts.is_cause_of(error):
            interrupts.say()
            code = interrupts.exit_code
        else:
            from flows.runs.failures import error_line

            message = error_line(error)
            if message is None:
                raise
            answer_error(with_ours(message, getattr(error, "option_name", None)), "--json" in sys.argv[1:])
            code = 2
    sys.exit(code if isinstance(code, int) else 0)
