"""How long work says how far it is."""

from __future__ import annotations

from collections.abc import Callable

OnProgress = Callable[[float, int | None, str], None]
"""Called with what is done, parts included, of how much (None: not known yet), and a few words."""
