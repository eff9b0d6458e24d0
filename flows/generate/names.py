"""The names of videos that nobody named: short, legal everywhere, and another one for every prompt and seed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from hashlib import blake2b

_MOST_CHARACTERS = 40


def video_name(texts: Sequence[str], seed: int) -> str:
    """Gives a file's name without its ending: the first words in ASCII, then a digest of all texts and the seed."""
    digest = blake2b("\n".join([*texts, str(seed)]).encode(errors="surrogatepass"), digest_size=4).hexdigest()
    words = _slug(texts[0])
    return f"{words}-{digest}" if words else f"video-{digest}"


def _slug(text: str) -> str:
    """The words of a text in a-z and 0-9, as many as are short; of another script nothing is left."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    words = re.findall(r"[a-z0-9]+", plain)
    slug = ""
    for word in words:
        longer = f"{slug}-{word}" if slug else word[:_MOST_CHARACTERS]
        if len(longer) > _MOST_CHARACTERS:
            break
        slug = longer
    return slug
