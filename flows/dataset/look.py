"""What is in the corpora of a file, before anything is built of them.

vidrd dataset plan --corpora corpora.toml --look
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flows.profile import Profile
from tasks.corpora.config import read_corpora
from tasks.corpora.look import Look, look_at
from tasks.tiny.world.corpora import shared_world


def look_into(corpora: Path | None, profile: Profile) -> list[Look]:
    """Lists the corpora and reads their words, no media; RequestError with one line when that cannot be done."""
    captions_needed = profile.recipe().captions_needed
    found = read_corpora(corpora or shared_world(), captions_needed)
    return look_at(found.corpora, captions_needed)


def as_dict(looks: list[Look]) -> dict[str, Any]:
    """Gives what was found, for machines."""
    return {"corpora": [look.as_dict() for look in looks]}
