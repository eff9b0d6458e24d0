"""The options that every command takes: `--profile`, `--set`, `--json` and `--quiet`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from flows.cli.completion import offer_values
from flows.settings.assignments import parse_assignment
from flows.terminal import say_less, tell
from storage.local.dry_run import writing_nothing
from storage.local.typed_paths import expanded

Command = Callable[..., Any]


@dataclass
class Given:
    """What was typed of the common options, by the command that runs."""

    command: str = ""
    as_json: bool = False
    dry_run: bool = False
    profile: str | None = None
    changes: dict[str, Any] = field(default_factory=dict)


_given = Given()


def given() -> Given:
    """Gives what was typed."""
    return _given


def add_command(app: typer.Typer, function: Command, name: str | None = None) -> None:
    """Puts a function into the command line under its name, with the common options behind its own."""
    name = name or function.__name__
    app.command(name)(_with_common_options(function, name, uses_settings=False))


def in_group(
    app: typer.Typer, group: str, name: str, uses_settings: bool = False
) -> Callable[[Command], Command]:
    """Decorates a function that becomes a command of a group.

    One with an option `profile` of its own uses settings; another one that does says so.
    """

    def add(function: Command) -> Command:
        app.command(name)(_with_common_options(function, f"{group} {name}", uses_settings))
        return function

    return add


def _with_common_options(function: Command, name: str, uses_settings: bool) -> Command:
    own = inspect.signature(function, eval_str=True)
    common = {option: kind for option, kind in _COMMON.items() if option not in own.parameters}
    if name not in _WRITES:
        del common["dry_run"]

    @functools.wraps(function)
    def command(**values: Any) -> Any:
        _take(name, **{option: values.pop(option) for option in common})
        with writing_nothing() if _given.dry_run else nullcontext():
            if "profile" in common and not uses_settings:
                _check_unused()
            return function(**values)

    more = [
        inspect.Parameter(
            option, inspect.Parameter.KEYWORD_ONLY, default=_DEFAULTS.get(option), annotation=kind
        )
        for option, kind in common.items()
    ]
    signature = own.replace(parameters=[*own.parameters.values(), *more])
    for parameter in signature.parameters.values():
        for option in getattr(parameter.annotation, "__metadata__", ()):
            offer_values(option)
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {name: one.annotation for name, one in signature.parameters.items()}
    return command


_DEFAULTS = {"json": False, "quiet": False, "dry_run": False}
_WRITES = {
    *("build-dataset", "retrain", "evaluate", "promote", "generate", "ablate"),
    *("dataset refilter", "dataset retry-quarantine", "dataset remove", "dataset compact", "dataset report"),
    *("weights fetch", "weights import", "weights export", "profile new", "demo"),
}
"""Commands that write or delete what would be missed, or take long."""
_COMMON: dict[str, Any] = {
    "profile": Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="Checked, and of no effect here.")
    ],
    "set": Annotated[
        list[str] | None,
        typer.Option(
            metavar="SECTION.KEY=VALUE",
            help="Instead of the profile's value; may repeat. vidrd profile show lists all.",
        ),
    ],
    "dry_run": Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")],
    "json": Annotated[bool, typer.Option("--json", help="One JSON object instead of a page.")],
    "quiet": Annotated[bool, typer.Option("--quiet", help="No progress and no notes, only the result.")],
}


def _take(
    command: str,
    set: list[str] | None,
    json: bool = False,
    quiet: bool = False,
    profile: str | None = None,
    dry_run: bool = False,
) -> None:
    _given.command, _given.as_json, _given.dry_run = command, json, dry_run
    say_less(quiet, json)
    _given.changes = dict(map(parse_assignment, set or ()))
    _given.profile = None if profile is None else expanded(profile)


def _check_unused() -> None:
    """Checks the profile and what is set also where nothing is made of it, and says so."""
    if _given.profile is None and not _given.changes:
        return
    from flows.profile import EMBEDDED, load_profile

    load_profile(_given.profile or EMBEDDED, _given.changes)
    tell(f"note: vidrd {_given.command} uses nothing of a profile: --profile and --set were only checked")
