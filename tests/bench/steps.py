"""Single steps of the tiny profile, in the order of the data's way through the house."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flows.profile import load_profile
from tasks.captions.scoring import PASS_FRAMES_ON_A_GPU, CaptionScorer
from tasks.latents.encoder import LatentEncoder
from tasks.passes import FrameCount
from tests.bench.tables import print_head, print_row
from tests.bench.timing import median_s


@dataclass(frozen=True)
class Step:
    """One row: `run` does the work once, which is so many units."""

    name: str
    units: int
    unit: str
    run: Callable[[], object]


def main() -> None:
    """Prints one row per step."""
    print_head("step", "median", "per second")
    with tempfile.TemporaryDirectory(prefix="vidrd-bench-") as folder:
        for step in _steps(Path(folder)):
            seconds = median_s(step.run)
            speed = f"{step.units / seconds:.1f} {step.unit}"
            print_row(step.name, f"{1000 * seconds:.0f} ms", speed)
    print()
    print_head(
        "frames through the models in a whole batch, and in one of a single clip", "over needed", "padding"
    )
    for name, clips in (("8 clips", 8), ("1 clip", 1)):
        for model, count in _counts(clips):
            through = (count.needed + count.padding) / count.needed
            print_row(f"{model}, {name}, passes as on a GPU", f"{through:.2f}", str(count.padding))


def _counts(clips: int) -> Iterator[tuple[str, FrameCount]]:
    """What goes through CLIP and the VAE for so many clips, in passes of the size that a GPU gets."""
    profile = load_profile("tiny")
    batch = [np.zeros((8, 64, 64, 3), np.uint8)] * clips
    scorer = CaptionScorer(profile.clip, pass_frames=PASS_FRAMES_ON_A_GPU)
    encoder = LatentEncoder(profile.model, pass_frames=16)
    scorer.frame_features(batch)
    encoder.encode(batch)
    yield "CLIP", scorer.frame_count
    yield "VAE", encoder.frame_count


def _steps(folder: Path) -> Iterator[Step]:
    from tasks.clips.from_source import clips_of
    from tasks.corpora.config import load_corpora
    from tasks.corpora.readers import read_sources
    from tasks.tiny.world.corpora import write_tiny_world
    from vidrd_model import VidRDPipeline

    profile = load_profile("tiny")
    corpora = load_corpora(write_tiny_world(folder / "world", 0, 8, 8, 8, 1, 1))
    one = {corpus.kind: next(s for s in read_sources(corpus) if not s.problem) for corpus in corpora}
    for kind, source in one.items():
        clips = len(list(clips_of(source, profile.clips)))
        yield Step(
            f"{kind}: one file to clips", clips, "clips", lambda s=source: list(clips_of(s, profile.clips))
        )

    clip = next(clips_of(one["short-videos"], profile.clips))
    scorer, encoder = CaptionScorer(profile.clip), LatentEncoder(profile.model)
    yield Step(
        "CLIP score of a clip", 1, "clips", lambda: scorer.score(clip.frames_nhwc, [clip.captions[0].text])
    )
    yield Step("VAE encoding of a clip", 1, "clips", lambda: encoder.encode([clip.frames_nhwc]))

    pipe = VidRDPipeline.from_pretrained(profile.model)
    pipe.set_progress_bar_config(disable=True)
    arguments = profile.sampling.pipeline_arguments() | {"output_type": "uint8"}
    for clips in (1, 3):
        yield Step(
            f"sampling {clips} clips, {profile.sampling.num_inference_steps} steps",
            clips * profile.sampling.num_frames,
            "frames",
            lambda n=clips: pipe(clip.captions[0].text, num_clips=n, **arguments),
        )
    command = [sys.executable, "-m", "flows.cli", "--help"]
    yield Step("vidrd --help", 1, "calls", lambda: subprocess.run(command, capture_output=True, check=True))
