"""Makes the clips of one source: images move, short videos are sampled, long videos are split at cuts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tasks.clips.clip import Clip, clip_id, parameters_json, seed_of
from tasks.clips.pseudo_video import draw_motion, read_image, render
from tasks.clips.sampling import collect_frames, plan_windows
from tasks.clips.settings import ClipSettings
from tasks.clips.shots import shots_of
from tasks.clips.video_io import frame_times, iter_frames, probe
from tasks.corpora.media import Media, open_media
from tasks.corpora.records import CaptionSpan, SourceRecord, captions_for_span
from tasks.errors import ItemError


def clips_of(source: SourceRecord, settings: ClipSettings) -> Iterator[Clip]:
    """Yields the clips of a source as they are decoded; the same source and settings give the same clips.

    Raises ItemError (stage `read`, `decode`, `sample` or `shots`) when the source is bad, possibly
    after some clips: whoever collects them decides whether these count.
    """
    if source.problem is not None:
        raise ItemError(f"{source.uri}: {source.problem}", stage="read")
    makers = {"images": _from_image, "short-videos": _from_short_video, "long-videos": _from_long_video}
    with open_media(source.place) as media:
        yield from makers[source.kind](source, media, settings)


def _from_image(source: SourceRecord, media: Media, settings: ClipSettings) -> Iterator[Clip]:
    image_hwc = read_image(media)
    height, width = image_hwc.shape[:2]
    for index in range(settings.clips_per_source):
        asked = _frame_parameters(settings) | {
            "method": "pseudo-video",
            "draw": index,
            "min_window": settings.pseudo_video_min_window,
        }
        rng = np.random.default_rng(seed_of(source.source_id, parameters_json(asked)))
        motion = draw_motion(rng, (width, height), settings)
        frames_nhwc = render(image_hwc, motion, settings.num_frames, settings.width, settings.height)
        parameters = asked | motion.parameters()
        yield _clip(source, settings, 0.0, frames_nhwc, source.captions, parameters, (width, height))


def _from_short_video(source: SourceRecord, media: Media, settings: ClipSettings) -> Iterator[Clip]:
    times_s = frame_times(media)
    windows = plan_windows(times_s, settings.num_frames, settings.fps, settings.clips_per_source)
    if not windows:
        length_s = times_s[-1] - times_s[0] if times_s else 0.0
        raise ItemError(
            f"{source.uri}: too short: {len(times_s)} frames over {length_s:.2f} s, "
            f"a clip spans {settings.span_s:.2f} s",
            stage="sample",
        )
    wanted = sorted({index for window in windows for index in window.indices})
    timed_frames = iter_frames(media, settings.width, settings.height)
    picked = collect_frames(timed_frames, [times_s[index] for index in wanted], source.uri)
    frame_at = dict(zip(wanted, picked, strict=True))
    info = probe(media)
    for window in windows:
        frames_nhwc = np.stack([frame_at[index] for index in window.indices])
        end_s = window.start_s + settings.span_s
        captions = captions_for_span(source.captions, window.start_s, end_s) or source.captions[:1]
        parameters = _frame_parameters(settings) | {"method": "sample", "start_s": round(window.start_s, 6)}
        size = (info.width, info.height)
        yield _clip(
            source, settings, window.start_s, frames_nhwc, captions, parameters, size, info.duration_s
        )


def _from_long_video(source: SourceRecord, media: Media, settings: ClipSettings) -> Iterator[Clip]:
    shots = long_enough = made = 0
    info = probe(media)
    size = (info.width, info.height)
    for shot in shots_of(iter_frames(media, settings.width, settings.height), settings):
        shots += 1
        windows = plan_windows(shot.times_s, settings.num_frames, settings.fps, settings.clips_per_source)
        long_enough += bool(windows)
        captions = captions_for_span(source.captions, shot.start_s, shot.end_s)
        if not captions:
            continue
        for window in windows:
            parameters = _frame_parameters(settings) | {
                "method": "shot",
                "start_s": round(window.start_s, 6),
                "shot_start_s": round(shot.start_s, 6),
                "shot_end_s": round(shot.end_s, 6),
            }
            frames_nhwc = np.stack([shot.frames[index] for index in window.indices])
            yield _clip(
                source, settings, window.start_s, frames_nhwc, captions, parameters, size, info.duration_s
            )
            made += 1
    if made == 0:
        raise ItemError(
            f"{source.uri}: gave no clip: {shots} shots, of which {long_enough} as long as a clip "
            f"({settings.span_s:.2f} s), of which 0 with a caption",
            stage="shots",
        )


def _frame_parameters(settings: ClipSettings) -> dict[str, object]:
    return {
        "num_frames": settings.num_frames,
        "fps": settings.fps,
        "width": settings.width,
        "height": settings.height,
    }


def _clip(
    source: SourceRecord,
    settings: ClipSettings,
    start_s: float,
    frames_nhwc: np.ndarray,
    captions: tuple[CaptionSpan, ...],
    parameters: dict[str, object],
    size: tuple[int, int],
    duration_s: float | None = None,
) -> Clip:
    params_json = parameters_json(parameters)
    return Clip(
        clip_id=clip_id(source.source_id, params_json),
        source=source,
        start_s=start_s,
        fps=settings.fps,
        frames_nhwc=frames_nhwc,
        captions=captions,
        caption_origin=source.caption_origin,
        params_json=params_json,
        source_width=size[0],
        source_height=size[1],
        source_duration_s=duration_s,
    )
