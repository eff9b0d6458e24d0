"""What a profile's models know, told to whoever gives them other footage: at once, before anything takes time."""

from __future__ import annotations

import os
from pathlib import Path

from flows.profile import Profile
from flows.profile_choice import ProfileParams, choose_profile, profile_of_dataset
from flows.terminal import tell
from storage.dataset.builds import last_noted
from tasks.tiny.world.place import is_in_tiny_world


def note_on_own_footage(profile: Profile, media: Path | None) -> str | None:
    """One line where media of somebody's own, by their corpora file or folder, meet models made for others only."""
    if profile.made_for is None or media is None or not os.path.exists(media) or is_in_tiny_world(media):
        return None
    return (
        f"the profile {profile.name} is made for {profile.made_for}, and knows nothing else: it rejects nearly every "
        "clip of other footage, and its figures say nothing of it. For footage of your own use --profile sd21 (Stable "
        "Diffusion 2.1 and OpenCLIP, on a GPU), or the path of a profile file with other models"
    )


def print_note_on_own_footage(media: Path | None, params: ProfileParams, dataset: Path | None = None) -> None:
    """The same on stderr, for a command; without a profile it is that of the dataset's last build, or tiny.

    Without media they are those of the dataset's last build. RequestError or StorageError as the profile's and the
    dataset's files give them.
    """
    noted = None if dataset is None else profile_of_dataset(dataset)
    if dataset is not None and media is None and (corpora := last_noted(dataset, "corpora")):
        media = Path(corpora)
    note = note_on_own_footage(choose_profile(params, noted), media)
    if note is not None:
        tell(f"note: {note}")
