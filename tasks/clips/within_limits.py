"""Looks whether a file is within the limits of the profile, from its headers and, for frames, its packets."""

from __future__ import annotations

from tasks.clips.image_cost import cost_bytes
from tasks.clips.images import opened_image
from tasks.clips.limits import LimitSettings
from tasks.clips.reading import frame_times, probe
from tasks.corpora.media import Media


def refuse_over_limits(media: Media, name: str, kind: str, limits: LimitSettings) -> None:
    """Raises ItemError (stage `limits`) for a file over them, or what reading its headers raises."""
    if limits == LimitSettings():
        return
    if kind == "images":
        with opened_image(media) as image:
            limits.refuse_over(name, "max_pixels", image.width * image.height, "pixels")
            limits.refuse_over(
                name, "max_memory_mb", round(cost_bytes(image) / 1e6), "MB of memory to decode"
            )
        return
    info = probe(media)
    limits.refuse_over(name, "max_pixels", info.width * info.height, "pixels a frame")
    if info.duration_s is not None:
        limits.refuse_over(name, "max_seconds", round(info.duration_s, 3), "s")
    if limits.max_frames is not None or (limits.max_seconds is not None and info.duration_s is None):
        times_s = frame_times(media)
        limits.refuse_over(name, "max_frames", len(times_s), "frames")
        if times_s:
            limits.refuse_over(name, "max_seconds", round(times_s[-1] - times_s[0], 3), "s")
