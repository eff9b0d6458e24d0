"""The actor of a build that holds its models: scores clips, decides, encodes; a plain class, callable without Ray."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from storage.dataset.rows import RowRef, read_rows
from storage.errors import StorageError
from tasks.captions.aesthetics import AestheticHead
from tasks.captions.scoring import CaptionScorer, ClipScore
from tasks.captions.settings import CaptionerSettings
from tasks.corpora.entry import normalise_caption
from tasks.corpora.records import CaptionSpan
from tasks.errors import ItemError
from tasks.filters.settings import FilterSettings
from tasks.ingest.items import (
    DecodedClip,
    Failure,
    Judged,
    Seconds,
    Verdict,
    clip_row,
    filter_view,
    latent_columns,
    score_columns,
    timed,
)
from tasks.ingest.recipe import Digests, Recipe, clip_digest
from tasks.ingest.rewriting import Rewrite, Rewritten, rewrite_rows
from tasks.latents.encoder import LatentEncoder, Latents

if TYPE_CHECKING:
    from tasks.captions.captioner import Captioner


class ClipJudge:
    """CLIP, the VAE and the optional models, loaded once; each clip is judged by itself, whatever its batch."""

    def __init__(self, recipe: Recipe, digests: Digests, threads: int | None = None) -> None:
        import torch

        if threads is not None:
            torch.set_num_threads(threads)
        self._digests = digests
        self._on_gpu = torch.cuda.is_available()
        build = recipe.build
        self._scorer = CaptionScorer(recipe.clip, build.batch_clips)
        self._encoder = LatentEncoder(recipe.model, build.batch_clips, build.latents_std)
        head = recipe.aesthetic.head
        self._head = None if head is None else AestheticHead(head, self._scorer.feature_width)
        self._captioner = _captioner(recipe.captioner)

    def judge(
        self, settings: FilterSettings, reuse: Sequence[RowRef | None], *batch: DecodedClip
    ) -> list[Any]:
        """`Judged` and then one row per clip (None for a clip that failed), as separate return values.

        `settings` decide which clips are kept; `reuse` names for each clip a row of an earlier build that may have
        its latents already.
        """
        seconds: Seconds = {}
        outcomes = [self._score(decoded, settings, seconds) for decoded in batch]
        rows = [row for row in outcomes if isinstance(row, dict)]
        reused = self._reuse(dict(zip((d.clip.clip_id for d in batch), reuse, strict=True)), rows)
        to_encode = [row for row in rows if "reason" not in row and row["clip_id"] not in reused]
        frames = {decoded.clip.clip_id: decoded.clip.frames_nhwc for decoded in batch}
        failures = self._encode(to_encode, [frames[row["clip_id"]] for row in to_encode], seconds)
        encoded = {row["clip_id"] for row in to_encode}
        verdicts: list[Verdict] = []
        given: list[dict[str, Any] | None] = []
        for decoded, outcome in zip(batch, outcomes, strict=True):
            clip_id = decoded.clip.clip_id
            failure = outcome if isinstance(outcome, Failure) else failures.get(clip_id)
            row = outcome if failure is None and isinstance(outcome, dict) else None
            given.append(row)
            reason = None if row is None else row.get("reason")
            verdicts.append(Verdict(clip_id, reason, clip_id in encoded and row is not None, failure))
        return [Judged(verdicts, seconds), *given]

    def rewrite(self, jobs: Sequence[Rewrite]) -> Rewritten:
        """Write rows again with new scores or latents, into fragments that nobody sees yet."""
        return rewrite_rows(jobs, self)

    def has_features_of(self, row: dict[str, Any]) -> bool:
        """Whether a row's CLIP features are those of the model that is loaded here."""
        return clip_digest(row["scorer"]) == clip_digest(self._digests.scorer)

    def score_again(self, row: dict[str, Any], frames_nhwc: np.ndarray | None) -> dict[str, Any]:
        """The columns that CLIP and the aesthetic head decide, of a stored row; from its features without frames."""
        captions = [row["caption"]]
        if frames_nhwc is None:
            features_nd = row["clip_features"].reshape(row["num_frames"], -1)
            score = self._scorer.score_features(features_nd, captions)
        else:
            score = self._scorer.score(frames_nhwc, captions)
        return score_columns(score, self._beauty(score), self._digests.scorer)

    def encode_again(self, frames_nhwc: np.ndarray) -> dict[str, Any]:
        """The columns that the VAE decides; ItemError when the latents are not finite."""
        (latents,) = self._encoder.encode([frames_nhwc])
        if isinstance(latents, ItemError):
            raise latents
        return latent_columns(latents, self._digests.encoder)

    def _score(
        self, decoded: DecodedClip, settings: FilterSettings, seconds: Seconds
    ) -> dict[str, Any] | Failure:
        """The clip's row, with its `reason` when it is not kept, and without latents."""
        try:
            decoded = self._with_captions(decoded, seconds)
            with timed(seconds, "score", self._on_gpu):
                captions = [caption.text for caption in decoded.clip.captions]
                score = self._scorer.score(decoded.clip.frames_nhwc, captions)
                row = clip_row(decoded, score, self._beauty(score), self._digests.scorer)
        except Exception as error:
            return Failure.of(error, stage="score")
        reason = settings.reject_reason(filter_view(row))
        return row if reason is None else row | {"reason": reason}

    def _with_captions(self, decoded: DecodedClip, seconds: Seconds) -> DecodedClip:
        """A clip that came without a caption gets candidates from the captioning model."""
        if decoded.clip.captions or self._captioner is None:
            return decoded
        with timed(seconds, "caption", self._on_gpu):
            texts = self._captioner.captions(decoded.clip.frames_nhwc, decoded.clip.clip_id)
        decoded.clip.captions = tuple(CaptionSpan(normalise_caption(text), given=text) for text in texts)
        decoded.clip.caption_origin = "model"
        return decoded

    def _beauty(self, score: ClipScore) -> float | None:
        return None if self._head is None else self._head.score(score.frame_features)

    def _reuse(self, refs: dict[str, RowRef | None], rows: Sequence[dict[str, Any]]) -> set[str]:
        """Take latents over from rows of the same clip, source bytes and encoder; the ids of those taken."""
        taken = set()
        for row in rows:
            ref = refs[row["clip_id"]]
            if ref is None:
                continue
            try:
                (old,) = read_rows([ref], video=False)
            except StorageError:  # its file is damaged: then they are made anew
                continue
            same = (old["encoder"], old["source_digest"]) == (self._digests.encoder, row["source_digest"])
            if same and old["latents"] is not None:
                row |= {name: old[name] for name in ("latents", "latents_std", "encoder")}
                taken.add(row["clip_id"])
        return taken

    def _encode(
        self, rows: Sequence[dict[str, Any]], clips: Sequence[np.ndarray], seconds: Seconds
    ) -> dict[str, Failure]:
        """Add the latents to the rows; the failures by clip_id."""
        failures: dict[str, Failure] = {}
        if not rows:
            return failures
        try:
            with timed(seconds, "encode", self._on_gpu):
                encoded: list[Latents | ItemError] = self._encoder.encode(clips)
        except Exception as error:
            return {row["clip_id"]: Failure.of(error, stage="encode") for row in rows}
        for row, latents in zip(rows, encoded, strict=True):
            if isinstance(latents, ItemError):
                failures[row["clip_id"]] = Failure.of(latents, stage="encode")
            else:
                row |= latent_columns(latents, self._digests.encoder)
        return failures


def _captioner(settings: CaptionerSettings) -> Captioner | None:
    if settings.model is None:
        return None
    from tasks.captions.captioner import Captioner  # it brings transformers, which most builds do without

    return Captioner(settings.model, settings.candidates, settings.max_tokens)
