"""One self-contained HTML page from a template, and how numbers read on it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from uuid import uuid4

from storage.local.visible import visible
from tasks.errors import RequestError

_VERDICTS = {"promote": "Promoted", "refuse": "Not promoted", "cannot-judge": "Cannot be judged"}


def write_page(template: str, path: Path, **values: Any) -> Path:
    """Renders a template of this package into a file that appears whole or not at all.

    RequestError when it cannot be written.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # StrictUndefined: a figure that is missing must break the page, not leave a blank in it.
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
    page = environment.get_template(template).render(**values)
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
    """Text of others as it reads; numbers and the page's own parts as they are."""
    return visible(value, keep="\n") if isinstance(value, str) and not hasattr(value, "__html__") else value


def duration(seconds: float) -> str:
    """Returns seconds as a person says them: 8.2 s, 3 min 05 s, 7 h 02 min, 3 d 04 h."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours < 24:
        return f"{hours} h {minutes:02d} min"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days:,} d {hours:02d} h"


def size(num_bytes: float) -> str:
    """Returns bytes in three figures and a decimal unit: 512 B, 1.23 MB."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if num_bytes < 999.5:
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:,.3g} PB" if num_bytes < 1000 else f"{num_bytes:,.0f} PB"
