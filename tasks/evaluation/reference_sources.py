"""The real videos of an evaluation: which files of a reference folder are taken, and in which order."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tasks.corpora.corpus import Corpus
from tasks.corpora.readers import read_sources
from tasks.corpora.records import SourceRecord
from tasks.errors import RequestError
from tasks.evaluation.protocols import Protocol
from tasks.evaluation.settings import EvaluationSettings
from tasks.evaluation.ucf101 import is_ucf101, read_ucf101


def find_sources(folder: Path, protocol: Protocol, settings: EvaluationSettings) -> list[SourceRecord]:
    """Returns the captioned videos of a reference folder in the order in which they are taken, shuffled by the seed.

    The folder has UCF-101's layout or a manifest. Raises RequestError when there is no such folder or it has fewer
    videos than the settings ask for: they are never repeated to fill up.
    """
    if not folder.is_dir():
        raise RequestError(f"reference: {folder} is no folder; give one with videos and a manifest.tsv")
    if is_ucf101(folder):
        usable = read_ucf101(folder, protocol.split)
    elif protocol.prompts == "class-distribution" or protocol.fps == "native":
        raise RequestError(
            f"reference: {folder} has not UCF-101's layout (class folders), which the protocol {protocol.name} asks for"
        )
    else:
        corpus = Corpus(
            name="reference", kind="short-videos", format="folder", path=folder.absolute(), licence="unknown"
        )
        usable = [source for source in read_sources(corpus) if source.problem is None]
    if protocol.num_reference != "all" and len(usable) < settings.num_videos:
        raise RequestError(
            f"reference: {folder} has {len(usable)} captioned videos, num_videos asks for {settings.num_videos}"
        )
    # A sorted folder starts with its first classes; a shuffle takes of all.
    order = np.random.default_rng(settings.seed).permutation(len(usable))
    return [usable[index] for index in order]
