"""The video that a request edits: its frames, as the model takes them, are sampled anew with the request's text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flows.generate.given import given_digest
from storage.registry.model_folder import ResolvedModel
from tasks.errors import ItemError, RequestError
from tasks.generation.settings import SamplingSettings
from vidrd_model.frame_times import clips_over
from vidrd_model.sampling_options import DEFAULT_STRENGTH

if TYPE_CHECKING:
    import numpy as np

    from flows.generate.request import GenerateParams
    from tasks.generation.given_media import GivenVideo


@dataclass(frozen=True)
class Edit:
    """A video, how much of it is changed, and how many clips it is taken as."""

    video: GivenVideo
    strength: float
    num_clips: int
    digest: str

    @property
    def num_frames(self) -> int:
        """Of the video at the model's frame rate, and of what comes of it."""
        return len(self.video.instants_s)

    def made_of(self) -> dict[str, Any]:
        """What of it makes a video again, as plain JSON."""
        return {"edit": {"file": self.video.path.name, "digest": self.digest, "strength": self.strength}}

    def frames(self) -> np.ndarray:
        """All of its frames, uint8 (n, h, w, 3); RequestError where they cannot be read."""
        try:
            return self.video.all_frames()
        except ItemError as error:
            raise RequestError(f"edit: {error}") from error


def read_edit(params: GenerateParams, model: ResolvedModel, sampling: SamplingSettings) -> Edit | None:
    """None where nothing is edited; RequestError for options that do not go together and for videos that do not fit."""
    if params.edit is None:
        if params.strength is not None:
            raise RequestError("strength: is for edit")
        return None
    for name in ("continue_from", "image", "loop"):
        if getattr(params, name):
            raise RequestError(f"{name}: give either edit or {name}, not both")
    if params.clips != type(params).model_fields["clips"].default:
        raise RequestError("clips: an edited video is as long as the one that is given; leave it out")
    if (
        params.sampling is not None
        and params.sampling.seam is not None
        and "seam" in params.sampling.model_fields_set
    ):
        raise RequestError("seam: clips of an edited video share frames; leave it out")
    if sampling.method != "vidrd":
        raise RequestError(f"edit: method {sampling.method} cannot; vidrd can")
    n, shared = sampling.num_frames, sampling.prompt_frames
    if shared == n:
        raise RequestError(f"prompt_frames: clips of an edited video go on; take 0..{n - 1}, not {n}")
    digest = given_digest("edit", params.edit, params)
    from tasks.generation.given_media import GivenVideo

    try:
        video = GivenVideo.open(params.edit, model.folder, sampling, "edit")
    except ItemError as error:
        raise RequestError(f"edit: {error}") from error
    clips = clips_over(len(video.instants_s), n, shared)
    return Edit(video, DEFAULT_STRENGTH if params.strength is None else params.strength, clips, digest)
