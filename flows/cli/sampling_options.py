"""The options of the terminal that say how videos are sampled, as a flow takes them."""

from __future__ import annotations

import re
from typing import Any

from tasks.errors import RequestError


def sampling_options(size: str | None = None, **given: Any) -> dict[str, Any] | None:
    """The settings that were given, None when there are none; RequestError for a size that is none."""
    settings = {name: value for name, value in given.items() if value is not None}
    if size is not None:
        match = re.fullmatch(r"(\d+)[xX\u00d7](\d+)", size.strip())
        if match is None:
            raise RequestError(f"size: write it as WIDTHxHEIGHT in pixels, such as 256x256, not {size!r}")
        settings |= {"width": int(match[1]), "height": int(match[2])}
    return settings or None
