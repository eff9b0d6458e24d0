"""`vidrd profile`: what a profile says, where each value comes from, and a new file over one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.answer import answer
from flows.cli.common import given, in_group
from storage.local.typed_paths import expanded, typed_path

profile_app = typer.Typer(
    help="What a profile says, and a new one: models, sizes and settings.", rich_markup_mode=None
)


@in_group(profile_app, "profile", "list")
def profile_list() -> None:
    """The profiles known by name.

    Those that ship, and the files that were given once as --profile FILE.

    \b
    Example: vidrd profile list
    """
    from flows.settings.listing import known_profiles

    answer({"profiles": known_profiles()})


@in_group(profile_app, "profile", "show", uses_settings=True)
def profile_show(
    name: Annotated[
        str, typer.Argument(parser=expanded, metavar="NAME|FILE", help="Which profile.")
    ] = "tiny",
) -> None:
    """Every value of a profile, and where it comes from.

    A file, the one it extends, --set, or a default.

    \b
    Example: vidrd profile show sd21 --set temporal.lr=1e-5
    """
    from flows.profile import load_profile
    from flows.settings.text import rows

    profile = load_profile(name, given().changes)
    answer({"profile": profile.name, "source": profile.source, "settings": rows(profile)})


@in_group(profile_app, "profile", "new", uses_settings=True)
def profile_new(
    file: Annotated[Path, typer.Argument(parser=typed_path, metavar="FILE", help="The file to write.")],
    base: Annotated[
        str, typer.Option("--from", parser=expanded, metavar="NAME|FILE", help="The profile to extend.")
    ] = "tiny",
    force: Annotated[bool, typer.Option("--force", help="Even where the file is there.")] = False,
) -> None:
    """Writes a profile file that extends another, with every key as a comment.

    What --set gives is in force in it. Give it as --profile FILE once; from then on its name is enough.

    \b
    Example: vidrd profile new mine.toml --from sd21 --set temporal.lr=1e-5
    """
    from flows.settings.new import new_profile, write_new_profile

    if given().dry_run:
        new_profile(file, base, given().changes, force)
        answer({"dry_run": True, "profile": file.stem, "would_write": str(file), "extends": base})
        return
    profile = write_new_profile(file, base, given().changes, force)
    answer({"profile": profile.name, "file": str(file), "extends": base})
