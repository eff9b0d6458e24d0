"""Files and folders that macOS, Windows and file servers leave beside media: nobody means them to be looked at."""

from __future__ import annotations

import re

# fmt: off
_NAMES = (
    ".ds_store", ".trashes", ".trash", ".appledouble", ".lsoverride", ".spotlight-v100", ".fseventsd",
    ".temporaryitems", ".documentrevisions-v100", ".apdisk", "__macosx", "icon\r",
    "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "$recycle.bin", "system volume information",
    "@eadir", "#recycle", ".@__thumb",
)
# fmt: on
_PREFIXES = ("._", ".trash-")
_BEGINNING, _WHOLE = (str.join("|", map(re.escape, names)) for names in (_PREFIXES, sorted(_NAMES)))
_PART = re.compile(rf"(?:^|/)(?:{_BEGINNING}|(?:{_WHOLE})(?:/|\Z))", re.IGNORECASE)


def is_companion(path: str) -> bool:
    """Tells whether any part of a path (with slashes) is one of them, in upper or lower case."""
    return _PART.search(path) is not None
