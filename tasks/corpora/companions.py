"""Files and folders that macOS, Windows and file servers leave beside media: nobody means them to be looked at."""

from __future__ import annotations

# fmt: off
_NAMES = frozenset((
    ".ds_store", ".trashes", ".trash", ".appledouble", ".lsoverride", ".spotlight-v100", ".fseventsd",
    ".temporaryitems", ".documentrevisions-v100", ".apdisk", "__macosx", "icon\r",
    "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "$recycle.bin", "system volume information",
    "@eadir", "#recycle", ".@__thumb",
))
# fmt: on
_PREFIXES = ("._", ".trash-")


def is_companion(path: str) -> bool:
    """Tells whether any part of a path (with slashes) is one of them, in upper or lower case."""
    if not ("." in path or "_" in path or "$" in path or "@" in path or "#" in path or " " in path):
        return False
    return any(part in _NAMES or part.startswith(_PREFIXES) for part in path.lower().split("/"))
