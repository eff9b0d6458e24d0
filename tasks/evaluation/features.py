"""The features of videos, from the networks and the pixels: one row per video, from which metrics are computed."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np

from tasks.errors import RequestError
from tasks.evaluation.networks import Networks, load_c3d, load_clip, load_i3d
from tasks.evaluation.text_score import frame_features
from vidrd_model.metrics import cycling, frozen_share, motion_amount, pixel_consistency, seam_ratios

FEATURES_VERSION = 4
"""Part of every key under which features are kept: raise it when one of them is computed in another way."""

C3D_FRAMES = 16


@dataclass(frozen=True)
class Reading:
    """How a video is read: windows of `num_frames`, sliding over all of it, or the first and the last alone.

    I3D sees each frame `frame_repeats` times. The clips of `frames_per_clip` frames, of which `prompt_frames` are
    guided, are what the signatures of seams and of cycling need.
    """

    num_frames: int
    frame_repeats: int
    frames_per_clip: int
    prompt_frames: int
    ends_only: bool = False

    @property
    def stride(self) -> int:
        """Half a window, so that some windows straddle each place where clips meet."""
        return max(1, self.num_frames // 2)

    def starts(self, total_frames: int) -> range:
        """Returns first frames of the windows of a video."""
        last = total_frames - self.num_frames
        return range(0, last + 1, max(1, last) if self.ends_only else self.stride)


@dataclass(frozen=True)
class VideoFeatures:
    """One row per video.

    By window (n, w): `i3d_nwd` the 400 logits of I3D, `text_score_nw`, `frame_consistency_nw` and `motion_nw`. Of the
    whole video (n,): pixel consistency, frozen share, cycling and the two seam ratios, which are nan for videos of one
    clip. `class_probs_nk` are C3D's 101 probabilities of the first 16 frames. Of the first window CLIP's vectors:
    `clip_video_nd` the mean of its frames' and `clip_text_nd` the prompt's; `caption_n` tells prompts apart. A network
    that cannot be had leaves its columns with no entries beyond n, and so do prompts that are not known.
    """

    i3d_nwd: np.ndarray
    class_probs_nk: np.ndarray
    text_score_nw: np.ndarray
    frame_consistency_nw: np.ndarray
    motion_nw: np.ndarray
    pixel_consistency_n: np.ndarray
    frozen_n: np.ndarray
    cycling_n: np.ndarray
    seam_boundary_n: np.ndarray
    seam_guided_to_free_n: np.ndarray
    clip_video_nd: np.ndarray
    clip_text_nd: np.ndarray
    caption_n: np.ndarray

    def __len__(self) -> int:
        return len(self.motion_nw)

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Returns the rows of all parts, in their order; of longer videos only the windows that all have."""
        windows = min(part.motion_nw.shape[1] for part in parts)
        columns = {}
        for field in fields(cls):
            arrays = [getattr(part, field.name) for part in parts]
            if "_nw" in field.name:
                arrays = [array[:, :windows] for array in arrays]
            columns[field.name] = np.concatenate(arrays)
        return cls(**columns)

    def take(self, rows: np.ndarray | Sequence[int]) -> Self:
        """Returns the rows of these numbers, in this order."""
        return type(self)(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the columns by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def extract_features(
    frames_bthwc: np.ndarray,
    prompts: Sequence[str] | None,
    reading: Reading,
    networks: Networks,
    names: Sequence[str],
) -> VideoFeatures:
    """Returns all features of uint8 videos (b, t, h, w, 3) of the same length.

    `prompts` are None where nobody knows them. `names` are the videos' files or prompts, for RequestError when a
    feature is not finite.
    """
    starts = reading.starts(frames_bthwc.shape[1])
    seen = _clip_columns(frames_bthwc, prompts, starts, reading.num_frames, networks.clip_model)
    per_clip, guided = reading.frames_per_clip, reading.prompt_frames
    seams = [seam_ratios(video_thwc, per_clip, guided) for video_thwc in frames_bthwc]
    cycles = [cycling(video_thwc, per_clip, guided) for video_thwc in frames_bthwc]
    nan = float("nan")
    features = VideoFeatures(
        i3d_nwd=_i3d_windows(frames_bthwc, starts, reading, networks.i3d),
        class_probs_nk=_class_probs(frames_bthwc, networks.c3d),
        motion_nw=np.array(
            [
                [motion_amount(video_thwc[s : s + reading.num_frames]) for s in starts]
                for video_thwc in frames_bthwc
            ]
        ),
        pixel_consistency_n=np.array([pixel_consistency(video_thwc) for video_thwc in frames_bthwc]),
        frozen_n=np.array([_frozen_within_clips(video_thwc, per_clip) for video_thwc in frames_bthwc]),
        cycling_n=np.array([nan if share is None else share for share in cycles]),
        seam_boundary_n=np.array([nan if ratios is None else ratios.boundary for ratios in seams]),
        seam_guided_to_free_n=np.array(
            [nan if ratios is None else ratios.guided_to_free for ratios in seams]
        ),
        **seen,
    )
    _check_finite(features, names)
    return features


def _frozen_within_clips(frames_thwc: np.ndarray, frames_per_clip: int) -> float:
    """Averages over clips: between them a frame may repeat, as a first prompt frame is the last of the clip before."""
    starts = range(0, len(frames_thwc) - 1, frames_per_clip)
    return float(np.mean([frozen_share(frames_thwc[start : start + frames_per_clip]) for start in starts]))


def _i3d_windows(
    frames_bthwc: np.ndarray, starts: range, reading: Reading, weights: str | None
) -> np.ndarray:
    if weights is None:
        return np.zeros((len(frames_bthwc), len(starts), 0), np.float32)
    i3d = load_i3d(weights)
    features = []
    for start in starts:
        window_bthwc = frames_bthwc[:, start : start + reading.num_frames]
        # Repeats (1, 2, ...) -> (1, 1, 2, 2, ...): I3D needs more frames than a short clip has.
        features.append(i3d(np.repeat(window_bthwc, reading.frame_repeats, axis=1)).numpy())
    return np.stack(features, axis=1)


def _class_probs(frames_bthwc: np.ndarray, weights: str | None) -> np.ndarray:
    if weights is None or frames_bthwc.shape[1] < C3D_FRAMES:
        return np.zeros((len(frames_bthwc), 0), np.float32)
    return np.asarray(load_c3d(weights).probabilities(frames_bthwc[:, :C3D_FRAMES]))


def _clip_columns(
    frames_bthwc: np.ndarray, prompts: Sequence[str] | None, starts: range, num_frames: int, clip_model: str
) -> dict[str, np.ndarray]:
    """Returns the columns that come from CLIP, by name."""
    model = load_clip(clip_model)
    image_btd = frame_features(model, frames_bthwc)
    neighbours_bt = np.einsum("btd,btd->bt", image_btd[:, 1:], image_btd[:, :-1])
    neighbours = [neighbours_bt[:, start : start + num_frames - 1].mean(axis=1) for start in starts]
    columns = {
        "frame_consistency_nw": np.stack(neighbours, axis=1),
        "clip_video_nd": image_btd[:, :num_frames].mean(axis=1).astype(np.float32),
    }
    if prompts is None:
        videos = len(frames_bthwc)
        return columns | {
            "text_score_nw": np.zeros((videos, 0)),
            "clip_text_nd": np.zeros((videos, 0), np.float32),
            "caption_n": np.zeros(videos, np.uint64),
        }
    text_bd = model.text_features(list(prompts)).astype(np.float64)
    text_bt = np.einsum("btd,bd->bt", image_btd, text_bd)
    text = [text_bt[:, start : start + num_frames].mean(axis=1) for start in starts]
    return columns | {
        "text_score_nw": np.stack(text, axis=1),
        "clip_text_nd": text_bd.astype(np.float32),
        "caption_n": np.array([_caption_number(prompt) for prompt in prompts], np.uint64),
    }


def _caption_number(prompt: str) -> int:
    return int.from_bytes(hashlib.blake2b(prompt.encode(), digest_size=8).digest())


def _check_finite(features: VideoFeatures, names: Sequence[str]) -> None:
    """Raises RequestError for features that are not finite: averaging around them would hide them."""
    for column in ("i3d_nwd", "class_probs_nk", "text_score_nw", "frame_consistency_nw"):
        values = getattr(features, column).reshape(len(names), -1)
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(bad):
            network = column.rpartition("_")[0]
            raise RequestError(
                f"{names[bad[0]]}: {network} is not finite ({len(bad)} of {len(names)} videos of a batch)"
            )


def save_features(path: Path, features: VideoFeatures | None, about: Mapping[str, Any]) -> None:
    """Writes features, if there are any, and plain values about them; a reader sees the whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns: dict[str, np.ndarray] = {} if features is None else features.arrays()
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".measures-", delete=False) as part:
        np.savez_compressed(part, allow_pickle=False, about=np.array(json.dumps(about)), **columns)
    os.replace(part.name, path)


def load_features(path: Path) -> tuple[VideoFeatures | None, dict[str, Any]]:
    """Reads what `save_features` has written; RequestError when the file is damaged.

    Columns that older files lack have no entries.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            about = json.loads(str(arrays["about"]))
            columns = {name: arrays[name] for name in arrays.files if name != "about"}
        return (VideoFeatures(**_all_columns(columns)) if columns else None), about
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RequestError(
            f"{path}: damaged, holds no measures: {reason}; remove it and evaluate again"
        ) from error


def _all_columns(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    videos = len(columns["motion_nw"])
    older: dict[str, np.ndarray] = {
        "clip_video_nd": np.zeros((videos, 0), np.float32),
        "clip_text_nd": np.zeros((videos, 0), np.float32),
        "caption_n": np.zeros(videos, np.uint64),
    }
    whole = older | dict(columns)
    odd = [name for name, column in whole.items() if column.ndim == 0 or len(column) != videos]
    if odd:
        raise ValueError(f"{odd[0]} has not the {videos} rows that the others have")
    return whole
