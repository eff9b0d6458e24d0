"""Prints lines to the terminal, whatever words of others are in them."""

import sys
from collections.abc import Sequence

from storage.local.visible import visible

PLAIN, STRONG, FAINT = "", "bold", "dim"


_quiet = _stdout_is_for_json = False


def say_less(quiet: bool, json: bool) -> None:
    """Keeps progress and notes, all that goes to stderr, to oneself, or stdout free for the one object of `--json`."""
    global _quiet, _stdout_is_for_json
    _quiet, _stdout_is_for_json = quiet, json


def tell(line: object, error: bool = True, always: bool = False) -> None:
    """Prints a line, or several, to stderr (or stdout): no control character reaches the terminal."""
    error = error or _stdout_is_for_json
    if _quiet and error and not always:
        return
    print(visible(line, keep="\n"), file=sys.stderr if error else sys.stdout, flush=True)


def tell_json(text: str) -> None:
    """Prints the one object that `--json` promises to stdout; words of others in it stay visible."""
    print(visible(text, keep="\n"), flush=True)


def tell_styled(parts: Sequence[tuple[str, str]], error: bool = True) -> None:
    """Prints one line of (words, style); the styles show on a terminal only, elsewhere the line is plain.

    Whole lines, and no bar that is drawn again and again: Ray's workers write between them, and after Ctrl-C nothing
    of ours reaches the terminal that would put its cursor right.
    """
    error = error or _stdout_is_for_json
    if _quiet and error:
        return
    stream = sys.stderr if error else sys.stdout
    if not stream.isatty():
        print(visible("".join(words for words, _ in parts)), file=stream, flush=True)
        return
    # Imported where a terminal is written to: it would cost every command's start a few hundredths of a second.
    from rich.console import Console
    from rich.text import Text

    line = Text.assemble(*((visible(words), style) for words, style in parts))
    Console(file=stream, markup=False, highlight=False, emoji=False).print(line, soft_wrap=True)
    stream.flush()
