"""Picks what a report shows from a dataset: a few clips of each kind, each as a moving thumbnail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from storage.dataset.clip_dataset import ClipDataset
from storage.dataset.columns import KINDS
from tasks.clips.from_source import clips_of
from tasks.clips.settings import ClipSettings
from tasks.clips.video_io import decode_bytes
from tasks.corpora.config import load_corpora
from tasks.corpora.readers import read_sources
from tasks.pages.report import ReportMedia, SamplePair
from tasks.pages.thumbnails import Thumbnail, file_data_uri, moving_thumbnail
from tasks.pages.truth_check import CheckedClip

THUMBS_PER_GROUP = 10
SEED = 0


def collect_media(
    dataset: ClipDataset,
    clips: Sequence[CheckedClip],
    samples: Sequence[Mapping[str, Any]],
    curves: Mapping[str, Sequence[tuple[int, float | None]]],
    corpora_path: Path,
    clip_settings: ClipSettings,
) -> ReportMedia:
    """Gathers the pictures of a report; `samples` are rows of the generate flow (prompt, seed, file, ...)."""
    pixels = _Pixels(dataset, corpora_path, clip_settings)
    rng = np.random.default_rng(SEED)
    kept = [clip for clip in clips if clip.reason is None]
    rejected = [clip for clip in clips if clip.reason is not None]
    slipped = [clip for clip in kept if clip.wrong]
    return ReportMedia(
        kept={
            kind: [
                pixels.thumbnail(clip, _corpus_and_score(clip))
                for clip in _some((clip for clip in kept if clip.row["kind"] == kind and not clip.wrong), rng)
            ]
            for kind in KINDS
        },
        slipped=[pixels.thumbnail(clip, _truth_and_score(clip)) for clip in _some(slipped, rng)],
        rejected=[pixels.thumbnail(clip, _truth_and_score(clip)) for clip in _some(rejected, rng)],
        samples=[_pair(sample, kept, pixels) for sample in samples],
        contact_sheet=file_data_uri(Path(samples[0]["contact_sheet"]), "image/png"),
        right_scores=[clip.row["clip_score"] for clip in clips if not clip.wrong],
        wrong_scores=[clip.row["clip_score"] for clip in clips if clip.wrong],
        curves=curves,
    )


class _Pixels:
    """Reads the frames of a clip: from its kept mp4, or, where none is kept, made again from its source."""

    def __init__(self, dataset: ClipDataset, corpora_path: Path, clip_settings: ClipSettings) -> None:
        self._dataset = dataset
        self._clip_settings = clip_settings
        self._sources = {
            source.source_id: source
            for corpus in load_corpora(corpora_path)
            if corpus.kind == "images"
            for source in read_sources(corpus)
        }

    def thumbnail(self, clip: CheckedClip, note: str) -> Thumbnail:
        picture = moving_thumbnail(self._frames(clip), clip.row["fps"])
        return Thumbnail(picture, clip.row["caption"], note, struck=clip.wrong)

    def _frames(self, clip: CheckedClip) -> np.ndarray:
        table = self._dataset.clips if clip.reason is None else self._dataset.rejected
        (content,) = table.videos([clip.row["row"]])
        if content is not None:
            return decode_bytes(content)[0]
        source = self._sources[clip.row["source_id"]]
        remade = clips_of(source, self._clip_settings)
        return next(again.frames_nhwc for again in remade if again.clip_id == clip.row["clip_id"])


def _some(clips: Iterable[CheckedClip], rng: np.random.Generator) -> list[CheckedClip]:
    """Picks a random few: the table's order would show one corpus only."""
    clips = list(clips)
    return [clips[i] for i in rng.permutation(len(clips))[:THUMBS_PER_GROUP]]


def _pair(sample: Mapping[str, Any], kept: Sequence[CheckedClip], pixels: _Pixels) -> SamplePair:
    file = Path(sample["file"])
    alike = (clip for clip in kept if not clip.wrong and clip.row["caption"] == sample["prompt"])
    real = next(alike, None)
    return SamplePair(
        prompt=sample["prompt"],
        seed=sample["seed"],
        video=file_data_uri(file, "video/mp4"),
        file=f"{file.parent.name}/{file.name}",
        real=None if real is None else pixels.thumbnail(real, _corpus_and_score(real)),
    )


def _corpus_and_score(clip: CheckedClip) -> str:
    return f"{clip.row['corpus']} \u00b7 {clip.row['clip_score']:.3f}"


def _truth_and_score(clip: CheckedClip) -> str:
    shown = f"shows {clip.truth.caption_true}" if clip.wrong else "the caption is right"
    return f"{shown} \u00b7 {clip.row['clip_score']:.3f}"
