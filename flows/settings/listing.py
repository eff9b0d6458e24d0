"""The profiles that are known by name, as somebody chooses among them."""

from __future__ import annotations

from typing import Any

from flows.profile import load_profile
from flows.settings.places import given_profiles, profile_names
from tasks.errors import RequestError


def known_profiles() -> list[dict[str, Any]]:
    """Gives name, file, model and size of each; of one that cannot be read, why."""
    return [_told(name) for name in (*profile_names(), *given_profiles())]


def _told(name: str) -> dict[str, Any]:
    try:
        profile = load_profile(name)
    except RequestError as error:
        return {"name": name, "from": str(given_profiles().get(name, "")), "problem": str(error)}
    clips = profile.clips
    return {
        "name": name,
        "from": "ships with vidrd" if profile.source == name else profile.source,
        "model": profile.model,
        "clips": f"{clips.num_frames} frames of {clips.width}x{clips.height} at {clips.clip_fps:g} fps",
        "made for": profile.made_for or "footage of any kind",
    }
