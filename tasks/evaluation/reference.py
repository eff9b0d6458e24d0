"""The real side of an evaluation: which reference clips are taken, and their measures, cached by content."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from storage.home import home
from storage.weights import known_weights
from tasks.clips.from_source import clips_of
from tasks.clips.settings import ClipSettings
from tasks.corpora.corpus import Corpus
from tasks.corpora.readers import read_sources
from tasks.corpora.records import SourceRecord
from tasks.errors import ItemError, RequestError
from tasks.evaluation.features import CLIPS_PER_TASK, Measures, Networks, measure, remote
from tasks.evaluation.settings import EvaluationSettings, find_protocol
from tasks.progress import OnProgress

# Part of the cache key: raise it when the way clips are cut or measured changes.
_MEASURES_VERSION = 1


@dataclass(frozen=True)
class Reference:
    """The reference clips as far as they are kept: captions, files and measures, but no pixels."""

    prompts: list[str]
    files: list[str]
    measures: Measures
    unreadable: list[dict[str, str]]
    digest: str
    cached: bool


def find_sources(folder: Path, settings: EvaluationSettings) -> list[SourceRecord]:
    """The captioned videos of a reference folder in the order in which they are taken, shuffled by the seed.

    Raises RequestError when there is no such folder or it has fewer videos than the settings ask for: they
    are never repeated to fill up.
    """
    if not folder.is_dir():
        raise RequestError(f"reference: {folder} is no folder; give one with videos and a manifest.tsv")
    corpus = Corpus(
        name="reference", kind="short-videos", format="folder", path=folder.absolute(), licence="unknown"
    )
    usable = [source for source in read_sources(corpus) if source.problem is None]
    if len(usable) < settings.num_videos:
        raise RequestError(
            f"reference: {folder} has {len(usable)} captioned videos, "
            f"num_videos asks for {settings.num_videos}"
        )
    # A sorted folder starts with its first classes; a shuffle takes of all.
    order = np.random.default_rng(settings.seed).permutation(len(usable))
    return [usable[index] for index in order]


def measure_reference(
    folder: Path,
    settings: EvaluationSettings,
    fps: float,
    networks: Networks,
    on_progress: OnProgress | None = None,
) -> Reference:
    """Measures `num_videos` clips, one from the middle of each video, on the running Ray session.

    An unreadable video is listed by name and the next one takes its place; RequestError when too few are
    left.
    """
    sources = find_sources(folder, settings)
    digest = _digest(sources, settings, fps, networks.clip)
    weights = known_weights("i3d").sha256[:16] if networks.i3d else "none"
    cache = home() / "evaluation" / f"reference-{digest}-i3d-{weights}.npz"
    if cache.is_file():
        return _load(cache, folder, digest)
    protocol = find_protocol(settings.protocol)
    clip_settings = ClipSettings(
        num_frames=protocol.num_frames, fps=fps, width=settings.width, height=settings.height
    )
    taken = _Batch()
    while len(taken.files) < settings.num_videos:
        position = len(taken.files) + len(taken.unreadable)
        wanted = sources[position : position + settings.num_videos - len(taken.files)]
        if not wanted:
            raise RequestError(
                f"reference: only {len(taken.files)} of {len(sources)} videos in {folder} can be used, "
                f"num_videos asks for {settings.num_videos}; not {taken.unreadable[0]['error']}"
            )
        taken = _join([taken, *_measure_on_ray(wanted, clip_settings, networks, on_progress)])
    measures = Measures.join(taken.measures)
    _save(cache, taken, measures)
    return _load(cache, folder, digest, cached=False)


@dataclass
class _Batch:
    prompts: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    measures: list[Measures] = field(default_factory=list)
    unreadable: list[dict[str, str]] = field(default_factory=list)


def _measure_on_ray(
    sources: Sequence[SourceRecord],
    clip_settings: ClipSettings,
    networks: Networks,
    on_progress: OnProgress | None,
) -> list[_Batch]:
    import ray

    task = remote(_measure_sources)
    starts = range(0, len(sources), CLIPS_PER_TASK)
    refs = [task.remote(sources[i : i + CLIPS_PER_TASK], clip_settings, networks) for i in starts]
    batches = []
    for start, ref in zip(starts, refs, strict=True):
        batches.append(ray.get(ref))
        if on_progress is not None:
            done = min(start + CLIPS_PER_TASK, len(sources))
            on_progress(done, len(sources), "reference clips measured")
    return batches


def _measure_sources(
    sources: Sequence[SourceRecord], clip_settings: ClipSettings, networks: Networks
) -> _Batch:
    """The body of one Ray task: decodes a few videos, measures them, lets the pixels go."""
    batch, clips = _Batch(), []
    for source in sources:
        try:
            clip = next(clips_of(source, clip_settings))
        except ItemError as error:
            batch.unreadable.append({"file": source.uri, "error": str(error)})
            continue
        clips.append(clip.frames_nhwc)
        batch.prompts.append(clip.captions[0].text)
        batch.files.append(source.uri)
    if clips:
        batch.measures.append(measure(np.stack(clips), batch.prompts, networks))
    return batch


def _join(batches: Sequence[_Batch]) -> _Batch:
    joined = _Batch()
    for batch in batches:
        joined.prompts += batch.prompts
        joined.files += batch.files
        joined.measures += batch.measures
        joined.unreadable += batch.unreadable
    return joined


def _digest(sources: Sequence[SourceRecord], settings: EvaluationSettings, fps: float, clip: str) -> str:
    """A hash of what evaluations must share to be compared: the videos' content, protocol and CLIP model."""
    from vidrd_model.metrics.i3d import RESIZE

    protocol = asdict(find_protocol(settings.protocol))
    digest = hashlib.blake2b(digest_size=16)
    for part in (
        _MEASURES_VERSION,
        protocol,
        settings.model_dump(include={"num_videos", "seed", "width", "height"}),
        fps,
        RESIZE,
        _clip_digest(clip),
        [(source.uri, [asdict(span) for span in source.captions]) for source in sources],
    ):
        digest.update(json.dumps(part, sort_keys=True).encode())
    for source in sources:
        digest.update(_file_digest(Path(source.place.url)))
    return digest.hexdigest()


def _clip_digest(clip: str) -> str:
    if not Path(clip).is_dir():
        return clip  # a hub name
    files = sorted(path for path in Path(clip).iterdir() if path.is_file())
    return hashlib.blake2b(b"".join(_file_digest(path) for path in files)).hexdigest()


def _file_digest(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "blake2b").digest()
    except OSError:  # it will be listed as unreadable
        return b"unreadable"


def _save(cache: Path, taken: _Batch, measures: Measures) -> None:
    """File names are kept relative to the folder: the same videos elsewhere find the same cache."""
    cache.parent.mkdir(parents=True, exist_ok=True)
    texts = {"prompts": taken.prompts, "files": taken.files, "unreadable": taken.unreadable}
    with tempfile.NamedTemporaryFile(dir=cache.parent, prefix=".reference-", delete=False) as part:
        np.savez(part, texts=np.array(json.dumps(texts)), **asdict(measures))
    os.replace(part.name, cache)


def _load(cache: Path, folder: Path, digest: str, cached: bool = True) -> Reference:
    with np.load(cache, allow_pickle=False) as arrays:
        texts = json.loads(str(arrays["texts"]))
        measures = Measures(**{name: arrays[name] for name in arrays.files if name != "texts"})
    files = [str(folder / file) for file in texts["files"]]
    return Reference(texts["prompts"], files, measures, texts["unreadable"], digest, cached)
