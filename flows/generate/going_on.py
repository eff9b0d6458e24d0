"""Brings a given video or picture to where the model can go on from it, and says how well that went."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.generate.request import GenerateRequest
from flows.terminal import tell
from storage.local.visible import visible
from tasks.errors import ItemError, RequestError
from tasks.generation.given_media import GivenVideo, given_picture

if TYPE_CHECKING:
    from vidrd_model.continuing import Inversion


@dataclass(frozen=True)
class GoingOn:
    """The given clip as the model sees it, and the given frames that are written first, uint8 (n, h, w, 3) each."""

    inversion: Inversion
    num_parts: int
    parts: Iterator[np.ndarray]

    def figures(self) -> dict[str, float]:
        """How well the clip comes back, and what its noise is like, as plain JSON."""
        inversion = self.inversion
        return {
            "round_trip_grey_levels": round(inversion.round_trips[0], 3),
            "noise_mean": round(inversion.noise_means[0], 3),
            "noise_deviation": round(inversion.noise_deviations[0], 3),
        }


def going_on(request: GenerateRequest, on_ray: bool) -> GoingOn | None:
    """Inverts what the request goes on from; None without it. RequestError for media that cannot be used."""
    given, settings = request.given, request.sampling.settings
    if given is None:
        return None
    try:
        video = (
            None
            if given.is_picture
            else GivenVideo.open(given.path, request.model.folder, settings, given.field)
        )
        frames_nhwc = given_picture(given.path) if video is None else video.last_clip()
    except ItemError as error:
        raise RequestError(f"{given.field}: {error}") from error
    invert: Callable[..., Inversion]
    if on_ray:
        from tasks.generation.on_ray import invert_frames_on_ray as invert
    else:
        from tasks.generation.generate import invert_frames as invert
    inversion = invert(request.asked(), frames_nhwc)
    last_nhwc = (inversion.frames_bnhwc[0] * 255).round().byte().numpy()
    if settings.seam == "crossfade":  # they come blended with the first new ones
        last_nhwc = last_nhwc[: len(last_nhwc) - settings.prompt_frames]
    before = 0 if video is None or given.only_new else video.num_clips_before
    parts = _parts(video if before else None, None if given.only_new else last_nhwc)
    found = GoingOn(inversion, before + (not given.only_new and len(last_nhwc) > 0), parts)
    figures = found.figures()
    tell(
        f"[generate] {visible(given.path.name)}: sampled again from its noise, it differs from what the VAE makes of "
        f"it by {figures['round_trip_grey_levels']} of 255 grey levels; mean and deviation of the noise are "
        f"{figures['noise_mean']} and {figures['noise_deviation']}"
    )
    return found


def _parts(before: GivenVideo | None, last_nhwc: np.ndarray | None) -> Iterator[np.ndarray]:
    if before is not None:
        yield from before.before_last_clip()
    if last_nhwc is not None and len(last_nhwc):
        yield last_nhwc


def given_result(request: GenerateRequest, start: GoingOn | None) -> dict[str, Any]:
    """What the result says of the given video; nothing where there is none."""
    if request.given is None:
        return {}
    figures = {} if start is None else start.figures()
    return {request.given.field: {"file": str(request.given.path), **figures}}
