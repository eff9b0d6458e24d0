"""Lines for the terminal, whatever words of others are in them."""

import sys

from storage.local.visible import visible


def tell(line: object, error: bool = True) -> None:
    """Prints a line, or several, to stderr (or stdout): no control character reaches the terminal."""
    print(visible(line, keep="\n"), file=sys.stderr if error else sys.stdout, flush=True)
