"""Makes the frames of a stored clip again, from its media and its parameters alone."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from tasks.clips.collecting import frames_at
from tasks.clips.images import read_image
from tasks.clips.instants import sample_instants_s, shot_instants_s
from tasks.corpora.media import Media
from vidrd_model.pseudo_video import Motion, render

INSTANTS = {"sample": sample_instants_s, "shot": shot_instants_s}


def frames_from_params(media: Media, params_json: str) -> np.ndarray:
    """Gives the frames that `clips_of` gave a clip with these `params`, uint8 RGB (n, h, w, 3), bit for bit.

    Nothing of a video is decoded before the last keyframe that is safe to start at. ItemError (stage `decode`)
    when the media cannot be read any more.
    """
    parameters: dict[str, Any] = json.loads(params_json)
    if parameters["method"] == "pseudo-video":
        motion = Motion(
            parameters["kind"],
            tuple(parameters["start"]),
            tuple(parameters["end"]),
            parameters.get("easing", "linear"),
        )
        picture = read_image(media).picture
        return render(picture, motion, parameters["num_frames"], parameters["width"], parameters["height"])
    instants_s = INSTANTS[parameters["method"]](parameters)
    (taken,) = frames_at(
        media, [instants_s], parameters["width"], parameters["height"], parameters.get("scan")
    )
    return taken.frames_nhwc
