"""The bodies of a build's Ray tasks and of its actor; plain functions and a class, callable without Ray."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.tables import Fragments, write_rows
from tasks.build.items import DecodedClip, DecodeStep, Failure, Judged, Seconds, Verdict, clip_row, timed
from tasks.captions.scoring import CaptionScorer
from tasks.clips.from_source import clips_of
from tasks.clips.settings import ClipSettings
from tasks.clips.video_io import encode_lossless_ish
from tasks.corpora.records import SourceRecord
from tasks.errors import ItemError
from tasks.filters.settings import FilterSettings
from tasks.latents.encoder import LatentEncoder

KINDS_WITH_VIDEO = ("short-videos", "long-videos")
"""Kinds whose pixels are kept; an image's clip can be drawn again from the image and its parameters."""


def decode_source(source: SourceRecord, settings: ClipSettings) -> Iterator[DecodeStep | DecodedClip]:
    """Yield a step and a clip in turns, then one last step: the driver reads steps and never sees frames."""
    seconds: Seconds = {}
    failure, made = None, 0
    clips = clips_of(source, settings)
    try:
        while True:
            with timed(seconds, "decode"):
                clip = next(clips, None)
            if clip is None:
                break
            video = None
            if source.kind in KINDS_WITH_VIDEO:
                with timed(seconds, "video"):
                    video = encode_lossless_ish(clip.frames_nhwc, clip.fps)
            yield DecodeStep(clip.clip_id, seconds)
            yield DecodedClip(clip, video)
            made += 1
            seconds = {}
        if made == 0:
            raise ItemError("no clip could be made of it", stage="decode")
    except Exception as error:
        # One bad file must not end the run, whichever library it trips: it is quarantined with the error.
        failure = Failure.of(error, stage="decode")
    yield DecodeStep(None, seconds, failure)


@dataclass(frozen=True)
class Models:
    """The models of a build (folders or names) and the digests that its rows carry."""

    model: str
    clip: str
    encoder: str
    scorer: str


class ClipJudge:
    """Scores clips, decides, and encodes those that are kept; holds CLIP and the VAE."""

    def __init__(self, models: Models, settings: FilterSettings) -> None:
        self._models = models
        self._settings = settings
        self._scorer = CaptionScorer(models.clip)
        self._encoder = LatentEncoder(models.model)

    def judge(self, *batch: DecodedClip) -> list[Any]:
        """`Judged` and then one row per clip (None for a clip that failed), as separate return values."""
        seconds: Seconds = {}
        verdicts, rows = [], []
        for decoded in batch:
            try:
                verdict, row = self._judge_one(decoded, seconds)
            except Exception as error:
                clip_id = decoded.clip.clip_id
                verdict, row = Verdict(clip_id, failure=Failure.of(error, stage="encode")), None
            verdicts.append(verdict)
            rows.append(row)
        return [Judged(verdicts, seconds), *rows]

    def _judge_one(self, decoded: DecodedClip, seconds: Seconds) -> tuple[Verdict, dict[str, Any]]:
        clip, models = decoded.clip, self._models
        with timed(seconds, "score"):
            score = self._scorer.score(clip.frames_nhwc, [clip.captions[0].text]).mean
        reason = self._settings.reject_reason({"kind": clip.source.kind, "clip_score": score})
        if reason is not None:
            row = clip_row(decoded, score, models.scorer, None, models.encoder)
            return Verdict(clip.clip_id, reason), row | {"reason": reason}
        with timed(seconds, "encode"):
            latents_nchw = self._encoder.encode(clip.frames_nhwc)
        return Verdict(clip.clip_id), clip_row(decoded, score, models.scorer, latents_nchw, models.encoder)


def write_clip_rows(dataset_dir: Path, *rows: dict[str, Any]) -> tuple[Fragments, Fragments, Seconds]:
    """Write rows into uncommitted fragments of `clips` and, those with a reason, of `rejected`."""
    seconds: Seconds = {}
    with timed(seconds, "write"):
        clips = write_rows(dataset_dir, "clips", [row for row in rows if "reason" not in row])
        rejected = write_rows(dataset_dir, "rejected", [row for row in rows if "reason" in row])
    return clips, rejected, seconds
