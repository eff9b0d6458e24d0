"""Paths as people type them: `~` and `$VARIABLES` stand for what a shell would put there.

A shell leaves them alone in `--dataset=~/x`, between quotes, and in files; there they are read here, once, where a
path comes in: options of commands, parameters of flows, profiles, corpora files and `$VIDRD_HOME`. Cells of tables
are names of files and stay as they are.
"""

import os
import re
from pathlib import Path

_DOLLAR = re.compile(r"\$(?:(?P<escaped>\$)|(?P<name>[A-Za-z_]\w*)|\{(?P<braced>[^{}]*)\})", re.ASCII)


def expanded(text: str) -> str:
    """Gives the path with `~`, `~user`, `$NAME` and `${NAME}` replaced; `$$` is a dollar sign, `./~` a file called `~`.

    ValueError, one line, for a variable that is not set and for a user without a home folder. What a variable holds
    is taken as it stands.
    """
    if not text.startswith("~"):
        return _DOLLAR.sub(_value, text)
    user, slash, rest = text.partition("/")
    folder = os.path.expanduser(user)
    if folder == user:
        whose = f"there is no user {user[1:]!r}" if user[1:] else "this user has no home folder; set $HOME"
        raise ValueError(f"{user}: {whose} (a file of that name is ./{user})")
    return folder + slash + _DOLLAR.sub(_value, rest)


def as_typed(path: Path | str) -> str:
    """Tells what somebody would type for an absolute path, so that `expanded` gives it back."""
    return str(path).replace("$", "$$")


def typed_path(text: str) -> Path:
    """Gives the path that a person means by a text; ValueError as for `expanded`."""
    return Path(expanded(text))


def _value(match: re.Match[str]) -> str:
    if match["escaped"]:
        return "$"
    name = match["name"] or match["braced"]
    if name not in os.environ:
        raise ValueError(f"the variable {match[0]} is not set (write $$ for a dollar sign)")
    return os.environ[name]
