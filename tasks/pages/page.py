"""Writes a self-contained HTML page from a template, and numbers as they read on it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from uuid import uuid4

from jinja2 import Environment, PackageLoader, StrictUndefined

from storage.local.visible import visible
from tasks.errors import RequestError
from tasks.pages.theme import DARK, LIGHT
from tasks.units import duration, size

_VERDICTS = {"promote": "Promoted", "refuse": "Not promoted", "cannot-judge": "Cannot be judged"}


def write_page(template: str, path: Path, **values: Any) -> Path:
    """Renders a template of this package into a file that appears whole or not at all.

    RequestError when it cannot be written.
    """
    # StrictUndefined: a value that is missing must break the page, not leave a blank in it.
    environment = Environment(
        loader=PackageLoader("tasks.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["duration"] = duration
    environment.filters["percent"] = lambda share: f"{100 * share:.1f} %"
    environment.filters["figure"] = lambda value: f"{value:.4g}"
    environment.filters["count"] = lambda number: f"{number:,}"
    environment.filters["size"] = size
    environment.filters["verdict"] = lambda name: _VERDICTS.get(name, name)
    page = environment.get_template(template).render(light=LIGHT, dark=DARK, **values)
    # A name of its own: two flows may write the same page at once, and the last one to end counts.
    partial = path.with_name(f".{path.name}.{uuid4().hex}.partial")
    try:
        # File names need not be text in UTF-8; a page must be.
        partial.write_text(page, encoding="utf-8", errors="backslashreplace")
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise RequestError(f"{path}: cannot be written: {error.strerror}") from error
    return path


def _shown(value: Any) -> Any:
    """Makes text of others visible; numbers and the page's own parts stay as they are."""
    return visible(value, keep="\n") if isinstance(value, str) and not hasattr(value, "__html__") else value
