"""Makes the clips of one source: images move, short videos are sampled, long videos are split at cuts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tasks.clips.clip import Clip, clip_id, drawn_index, parameters_json, seed_of
from tasks.clips.collecting import frames_at
from tasks.clips.deinterlacing import Scan, interlaced_part
from tasks.clips.images import read_image
from tasks.clips.inner_subtitles import with_inner_subtitles
from tasks.clips.instants import grid_refinement, sample_instants_s, shot_instants_s
from tasks.clips.interlacing import scan_of
from tasks.clips.limits import LimitSettings, memory_limited
from tasks.clips.reading import VideoInfo, frame_times, probe
from tasks.clips.sampling import plan_starts
from tasks.clips.settings import ClipSettings
from tasks.clips.shot_windows import shot_windows
from tasks.clips.within_limits import refuse_over_limits
from tasks.corpora.media import Media, open_media
from tasks.corpora.records import CaptionSpan, SourceRecord, captions_for_span
from tasks.errors import ItemError
from vidrd_model.pseudo_video import draw_motion, render

NO_LIMITS = LimitSettings()


def clips_of(
    source: SourceRecord, settings: ClipSettings, limits: LimitSettings = NO_LIMITS
) -> Iterator[Clip]:
    """Yields the clips of a source as they are decoded; the same source and settings give the same clips.

    Raises ItemError (stage `read`, `limits`, `decode`, `sample` or `shots`) when the source is bad, possibly
    after some clips: whoever collects them decides whether these count.
    """
    if source.problem is not None and not source.is_wordless_film:
        raise ItemError(f"{source.uri}: {source.problem}", stage="read")
    makers = {"images": _from_image, "short-videos": _from_short_video, "long-videos": _from_long_video}
    with open_media(source.place) as media, memory_limited(limits):
        refuse_over_limits(media, source.uri, source.kind, limits)
        if source.is_wordless_film:
            source = with_inner_subtitles(source, media)
        yield from makers[source.kind](source, media, settings)


def _from_image(source: SourceRecord, media: Media, settings: ClipSettings) -> Iterator[Clip]:
    image = read_image(media)
    size = image.width, image.height
    for index in range(settings.clips_per_source):
        asked = _frame_parameters(settings) | {
            "method": "pseudo-video",
            "draw": index,
            "min_window": settings.pseudo_video_min_window,
        }
        rng = np.random.default_rng(seed_of(source.source_id, parameters_json(asked)))
        motion = draw_motion(rng, size, (settings.width, settings.height), settings.pseudo_video_min_window)
        frames_nhwc = render(image.picture, motion, settings.num_frames, settings.width, settings.height)
        parameters = asked | motion.parameters()
        yield _clip(source, settings, 0.0, frames_nhwc, source.captions, parameters, size)


def _from_short_video(source: SourceRecord, media: Media, settings: ClipSettings) -> Iterator[Clip]:
    scan, info = scan_of(media), probe(media)
    times_s = frame_times(media, scan)
    starts_s = plan_starts(times_s, settings.num_frames, settings.clip_fps, settings.clips_per_source)
    if not starts_s:
        length_s = times_s[-1] - times_s[0] if times_s else 0.0
        raise ItemError(
            f"{source.uri}: too short: {len(times_s)} frames over {length_s:.2f} s, "
            f"a clip spans {settings.span_s:.2f} s",
            stage="sample",
        )
    asked = _frame_parameters(settings, scan)
    drawn = [asked | {"method": "sample", "start_s": start_s} for start_s in starts_s]
    instants_s = [sample_instants_s(parameters) for parameters in drawn]
    taken = frames_at(media, instants_s, settings.width, settings.height, scan)
    for start_s, parameters, frames in zip(starts_s, drawn, taken, strict=True):
        said_s = start_s - info.begins_s
        captions = captions_for_span(source.captions, said_s, said_s + settings.span_s)
        yield _clip(
            source,
            settings,
            start_s,
            frames.frames_nhwc,
            captions or source.captions[:1],
            parameters,
            frames.source_size,
            info,
        )


def _from_long_video(source: SourceRecord, media: Media, settings: ClipSettings) -> Iterator[Clip]:
    shots = long_enough = made = 0
    scan, info = scan_of(media), probe(media)
    for shot, size, windows in shot_windows(media, settings, scan):
        shots += 1
        long_enough += bool(windows)
        captions = captions_for_span(
            source.captions, shot.start_s - info.begins_s, shot.end_s - info.begins_s
        )
        if not captions and source.captions:  # of a source without any, each clip gets one from a model
            continue
        for window in windows:
            parameters = _frame_parameters(settings, scan) | {
                "method": "shot",
                "instant": window.instant,
                "grid": grid_refinement(settings),
                "shot_start_s": round(shot.start_s, 6),
                "shot_end_s": round(shot.end_s, 6),
            }
            start_s = float(shot_instants_s(parameters)[0])
            yield _clip(source, settings, start_s, window.frames_nhwc, captions, parameters, size, info)
            made += 1
    if made == 0:
        raise ItemError(
            f"{source.uri}: gave no clip: {shots} shots, of which {long_enough} as long as a clip "
            f"({settings.span_s:.2f} s), of which 0 with a caption",
            stage="shots",
        )


def _frame_parameters(settings: ClipSettings, scan: Scan | None = None) -> dict[str, object]:
    """Gives what is asked of a clip's frames; of progressive videos nothing of their scan, as ever."""
    scanned = {} if scan is None else {"scan": scan}
    return scanned | {
        "num_frames": settings.num_frames,
        "fps": settings.fps,
        "frame_stride": settings.frame_stride,
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
    info: VideoInfo | None = None,
) -> Clip:
    params_json = parameters_json(parameters)
    name = clip_id(source.source_id, params_json)
    drawn_from: tuple[CaptionSpan, ...] = ()
    if source.caption_choice == "drawn" and len(captions) > 1:
        drawn_from, captions = captions, (captions[drawn_index(name, len(captions))],)
    return Clip(
        clip_id=name,
        source=source,
        start_s=start_s,
        fps=settings.clip_fps,
        frames_nhwc=frames_nhwc,
        captions=captions,
        caption_origin=source.caption_origin,
        params_json=params_json,
        source_width=size[0],
        source_height=size[1],
        source_duration_s=None if info is None else info.duration_s,
        source_films=None if info is None else info.films,
        interlaced=None if info is None else interlaced_part(parameters.get("scan")),
        drawn_from=drawn_from,
    )
