"""The models of a build, and what they do to clips: score them, decide, encode; a plain class, callable without Ray."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from storage.dataset.columns import (
    CAPTION,
    CAPTIONER,
    CLIP_FEATURES,
    CLIP_ID,
    ENCODER,
    FINGERPRINT,
    LATENTS,
    LATENTS_STD,
    MODEL_CAPTIONS,
    NUM_FRAMES,
    REASON,
    SCORER,
    SOURCE_DIGEST,
)
from storage.dataset.tables import RowRef, read_table
from storage.errors import StorageError
from tasks.captions.aesthetics import AestheticHead
from tasks.captions.scoring import CaptionScorer, ClipScore
from tasks.captions.settings import CaptionerSettings
from tasks.captions.writing import CaptionWriter, caption_writer
from tasks.clips.settings import ClipSettings
from tasks.corpora.entry import normalise_caption
from tasks.corpora.records import CaptionSpan
from tasks.errors import ItemError
from tasks.filters.settings import FilterSettings
from tasks.ingest.items import ClipOutcome, DecodedClip, Failure, ScoredBatch, Seconds, timed
from tasks.ingest.pace import Pace, batch_clips
from tasks.ingest.recipe import Digests, Recipe, clip_model_digest
from tasks.ingest.rows import clip_row, filter_view, latent_columns, score_columns
from tasks.latents.encoder import LatentEncoder, Latents

MODEL_ORIGIN = "model"
"""The `caption_origin` of a caption that no corpus has."""


class ScoringModels:
    """CLIP, the VAE and the optional models, loaded once; what a clip gets hangs on nothing else of its batch.

    On a CPU `threads` clips of a batch go through CLIP and the VAE at once.
    """

    def __init__(self, recipe: Recipe, digests: Digests, threads: int = 1) -> None:
        self._digests = digests
        self._on_gpu = torch.cuda.is_available()
        build = recipe.build
        self._scorer = CaptionScorer(recipe.clip_model, threads)
        self._encoder = LatentEncoder(recipe.model, build.latents_std, threads, precision=build.precision)
        head = recipe.aesthetic.head
        self._head = None if head is None else AestheticHead(head, self._scorer.feature_width)
        self._captioner = _captioner(recipe.captioner)
        self._captioned_by = recipe.captioned_by
        self._captions_all = recipe.captions_all
        self._threads, self._most = threads, build.batch_clips

    def pace(self, clips: ClipSettings, noted: Pace | None) -> Pace:
        """Times a blank clip through CLIP and the VAE, unless what was `noted` is of these models on this device."""
        device = torch.cuda.get_device_name() if self._on_gpu else "cpu"
        models = [self._digests.encoder, self._digests.scorer]
        if noted is not None and (noted.device, noted.models) == (device, models):
            return noted
        # On a CPU a frame takes its part of a clip's time, and a clip of full size a minute.
        frames = clips.num_frames if self._on_gpu else 1
        blank_nhwc = np.zeros((frames, clips.height, clips.width, 3), np.uint8)
        started_s = time.perf_counter()
        self._scorer.frame_features([blank_nhwc])
        self._encoder.encode([blank_nhwc])
        clip_s = (time.perf_counter() - started_s) * clips.num_frames / frames
        at_once = 1 if self._on_gpu else self._threads
        return Pace(device, models, clip_s, batch_clips(clip_s, at_once, self._most))

    def score_clips(
        self, settings: FilterSettings, reuse: Sequence[RowRef | None], *batch: DecodedClip
    ) -> list[Any]:
        """Scores, decides and encodes: gives a `ScoredBatch`, then one row per clip (None for a clip that failed).

        `settings` decide which clips are kept; `reuse` names for each clip a row of an earlier build that may have
        its latents already.
        """
        seconds: Seconds = {}
        scored = self._score(batch, settings, seconds)
        rows = [row for row in scored if isinstance(row, dict)]
        reused = self._reuse(dict(zip((d.clip.clip_id for d in batch), reuse, strict=True)), rows)
        to_encode = [row for row in rows if REASON not in row and row[CLIP_ID] not in reused]
        frames = {decoded.clip.clip_id: decoded.clip.frames_nhwc for decoded in batch}
        failures = self._encode(to_encode, [frames[row[CLIP_ID]] for row in to_encode], seconds)
        failures |= self._caption_kept(rows, frames, seconds)
        encoded = {row[CLIP_ID] for row in to_encode}
        outcomes: list[ClipOutcome] = []
        given: list[dict[str, Any] | None] = []
        for decoded, result in zip(batch, scored, strict=True):
            clip_id = decoded.clip.clip_id
            failure = result if isinstance(result, Failure) else failures.get(clip_id)
            row = result if failure is None and isinstance(result, dict) else None
            given.append(row)
            reason = None if row is None else row.get(REASON)
            outcomes.append(ClipOutcome(clip_id, reason, clip_id in encoded and row is not None, failure))
        return [ScoredBatch(outcomes, seconds), *given]

    def has_features_of(self, row: dict[str, Any]) -> bool:
        """Tells whether a row's CLIP features are those of the model that is loaded here."""
        return clip_model_digest(row[SCORER]) == clip_model_digest(self._digests.scorer)

    def score_again(self, row: dict[str, Any], frames_nhwc: np.ndarray | None) -> dict[str, Any]:
        """Computes the columns that CLIP and the aesthetic head decide; without frames from the features of the row."""
        captions = [row[CAPTION]]
        if frames_nhwc is None:
            features_nd = row[CLIP_FEATURES].reshape(row[NUM_FRAMES], -1)
            score = self._scorer.score_features(features_nd, captions)
        else:
            score = self._scorer.score(frames_nhwc, captions)
        return score_columns(score, self._aesthetic(score), self._digests.scorer)

    def encode_again(self, frames_nhwc: np.ndarray) -> dict[str, Any]:
        """Computes the columns that the VAE decides; ItemError when the latents are not finite."""
        (latents,) = self._encoder.encode([frames_nhwc])
        if isinstance(latents, ItemError):
            raise latents
        return latent_columns(latents, self._digests.encoder)

    def captions_again(self, clips: Sequence[tuple[np.ndarray, str]]) -> list[dict[str, Any] | Exception]:
        """Computes the columns that the captioning model decides, of frames and clip_ids; an error instead of none."""
        written = self._write(clips, {}) if clips else []
        return [texts if isinstance(texts, Exception) else self._caption_columns(texts) for texts in written]

    def _score(
        self, batch: Sequence[DecodedClip], settings: FilterSettings, seconds: Seconds
    ) -> list[dict[str, Any] | Failure]:
        """Gives each clip's row, with its `reason` when it is not kept, and without latents; or why there is none."""
        captioned = self._with_captions(batch, seconds)
        frames = [decoded.clip.frames_nhwc for decoded in captioned if isinstance(decoded, DecodedClip)]
        with timed(seconds, "score", self._on_gpu):
            try:
                features = iter(self._scorer.frame_features(frames))
            except Exception as error:
                return [Failure.of(error, stage="score")] * len(batch)
            return [
                decoded if isinstance(decoded, Failure) else self._row(decoded, next(features), settings)
                for decoded in captioned
            ]

    def _row(
        self, decoded: DecodedClip, features_nd: np.ndarray, settings: FilterSettings
    ) -> dict[str, Any] | Failure:
        try:
            captions = [caption.text for caption in decoded.clip.captions]
            score = self._scorer.score_features(features_nd, captions)
            row = clip_row(decoded, score, self._aesthetic(score), self._digests.scorer)
            if decoded.clip.caption_origin == MODEL_ORIGIN and self._captioner is not None:
                row |= self._caption_columns(captions)
        except Exception as error:
            return Failure.of(error, stage="score")
        reason = settings.reject_reason(filter_view(row))
        return row if reason is None else row | {REASON: reason}

    def _with_captions(self, batch: Sequence[DecodedClip], seconds: Seconds) -> list[DecodedClip | Failure]:
        """Gives clips that came without a caption candidates from the captioning model; a failure where it has none."""
        without = [decoded.clip for decoded in batch if not decoded.clip.captions]
        if self._captioner is None or not without:
            return list(batch)
        written = self._write([(clip.frames_nhwc, clip.clip_id) for clip in without], seconds)
        failed: dict[str, Failure] = {}
        for clip, texts in zip(without, written, strict=True):
            if isinstance(texts, Exception):
                failed[clip.clip_id] = Failure.of(texts, stage="caption")
                continue
            clip.captions = tuple(CaptionSpan(normalise_caption(text), given=text) for text in texts)
            clip.caption_origin = MODEL_ORIGIN
        return [failed.get(decoded.clip.clip_id, decoded) for decoded in batch]

    def _caption_kept(
        self, rows: Sequence[dict[str, Any]], frames: dict[str, np.ndarray], seconds: Seconds
    ) -> dict[str, Failure]:
        """Adds captions by the model to the rows that are kept, where it writes for all; the failures by clip_id."""
        kept = [row for row in rows if REASON not in row and row.get(CAPTIONER) is None]
        if not self._captions_all or not kept:
            return {}
        written = self._write([(frames[row[CLIP_ID]], row[CLIP_ID]) for row in kept], seconds)
        failures: dict[str, Failure] = {}
        for row, texts in zip(kept, written, strict=True):
            if isinstance(texts, Exception):
                failures[row[CLIP_ID]] = Failure.of(texts, stage="caption")
            else:
                row |= self._caption_columns(texts)
        return failures

    def _write(
        self, clips: Sequence[tuple[np.ndarray, str]], seconds: Seconds
    ) -> Sequence[list[str] | Exception]:
        assert self._captioner is not None
        try:
            with timed(seconds, "caption", self._on_gpu):
                return self._captioner.write(clips)
        except Exception as error:  # whatever the library trips over is these clips' failure, not the build's
            return [error] * len(clips)

    def _caption_columns(self, texts: Sequence[str]) -> dict[str, Any]:
        return {MODEL_CAPTIONS: [normalise_caption(text) for text in texts], CAPTIONER: self._captioned_by}

    def _aesthetic(self, score: ClipScore) -> float | None:
        return None if self._head is None else self._head.score(score.frame_features)

    def _reuse(self, refs: dict[str, RowRef | None], rows: Sequence[dict[str, Any]]) -> set[str]:
        """Takes latents over from rows of the same clip, source bytes, pixels and encoder; the ids of those taken.

        The pixels of the same clip differ where an earlier version of the project read its source in another way.
        """
        taken = set()
        for row in rows:
            ref = refs[row[CLIP_ID]]
            if ref is None:
                continue
            try:
                (old,) = read_table(*ref[:3]).whole_rows([ref.row], video=False)
            except StorageError:  # its file is damaged: then they are made anew
                continue
            same = old[ENCODER] == self._digests.encoder and all(
                old[name] == row[name] for name in (SOURCE_DIGEST, FINGERPRINT)
            )
            if same and old[LATENTS] is not None:
                row |= {name: old[name] for name in (LATENTS, LATENTS_STD, ENCODER)}
                taken.add(row[CLIP_ID])
        return taken

    def _encode(
        self, rows: Sequence[dict[str, Any]], clips: Sequence[np.ndarray], seconds: Seconds
    ) -> dict[str, Failure]:
        """Adds the latents to the rows; the failures by clip_id."""
        failures: dict[str, Failure] = {}
        if not rows:
            return failures
        try:
            with timed(seconds, "encode", self._on_gpu):
                encoded: list[Latents | ItemError] = self._encoder.encode(clips)
        except Exception as error:
            return {row[CLIP_ID]: Failure.of(error, stage="encode") for row in rows}
        for row, latents in zip(rows, encoded, strict=True):
            if isinstance(latents, ItemError):
                failures[row[CLIP_ID]] = Failure.of(latents, stage="encode")
            else:
                row |= latent_columns(latents, self._digests.encoder)
        return failures


def _captioner(settings: CaptionerSettings) -> CaptionWriter | None:
    return None if settings.model is None else caption_writer(settings)
