"""A build's work at Stable Diffusion's size on a GPU: real media to latents, without tables and without Ray.

    python -m tests.bench.gpu_build FOLDER [--clips 1000] [--seconds 200] [--precision bfloat16] [--decoders 15]

FOLDER holds short videos, which are read again and again under other names until there are enough clips. It needs
torch, diffusers, transformers, open_clip, PyAV, OpenCV, Pillow, pi-heif, scenedetect, fsspec, pyarrow, pydantic
and safetensors only, and no weights: they are random, which costs the same time. Decoders are the processes of a small
build; the models are its scoring and encoding classes, on a thread of their own. After `--seconds` it stops and prints
what it has.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np
import open_clip
import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file

from tasks.captions.scoring import CaptionScorer
from tasks.clips.settings import ClipSettings
from tasks.corpora.records import CaptionSpan, MediaPlace, SourceRecord
from tasks.ingest.decoder_process import DecoderProcess
from tasks.ingest.decoding import decode_source
from tasks.ingest.items import DecodedClip, DecodeStep, Seconds, add_seconds
from tasks.latents.encoder import LatentEncoder
from tests.bench.tables import print_head, print_row

SUFFIXES = {".mp4", ".mkv", ".avi", ".webm", ".mov"}
BATCH_CLIPS, BATCHES_AHEAD = 8, 2
CAPTION = "a film"


@dataclass(frozen=True)
class Size:
    """The widths of the VAE, the architecture of CLIP, and the side of a clip."""

    vae_widths: tuple[int, ...]
    clip_config: dict
    side_px: int


def real_size() -> Size:
    return Size((128, 256, 512, 512), open_clip.get_model_config("ViT-B-32"), 256)


def tiny_size() -> Size:
    """What a CPU does in seconds: for the test that this runs at all."""
    vision = {"image_size": 64, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16}
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    return Size((32, 32), {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}, 64)


@dataclass
class Work:
    """What was done: seconds by stage, of processes and of the models, and clips."""

    seconds: Seconds = field(default_factory=dict)
    clips: int = 0
    failures: list[str] = field(default_factory=list)


class Models:
    """CLIP and the VAE, with the time that each keeps the device busy."""

    def __init__(self, folder: Path, precision: str) -> None:
        self.scorer = CaptionScorer(folder / "clip")
        self.encoder = LatentEncoder(folder, precision=precision)

    def take(self, batch: list[np.ndarray], work: Work) -> None:
        """Scores and encodes a batch, and counts it."""
        started_s = time.perf_counter()
        for features_nd in self.scorer.frame_features(batch):
            self.scorer.score_features(features_nd, [CAPTION])
        scored_s = time.perf_counter()
        self.encoder.encode(batch)
        add_seconds(work.seconds, {"score": scored_s - started_s, "encode": time.perf_counter() - scored_s})
        work.clips += len(batch)


def main(arguments: list[str] | None = None) -> None:
    """Prints clips per second, seconds by stage, and how busy the models were."""
    asked = _arguments(arguments)
    size = tiny_size() if asked.tiny else real_size()
    if not torch.cuda.is_available() and not asked.tiny:
        raise SystemExit("error: no CUDA device: this bench is for a GPU; --tiny runs on a CPU")
    with tempfile.TemporaryDirectory(prefix="vidrd-bench-") as name:
        write_models(Path(name), size)
        models = Models(Path(name), asked.precision)
    settings = ClipSettings(fps=8.0, width=size.side_px, height=size.side_px)
    models.take([np.zeros((8, size.side_px, size.side_px, 3), np.uint8)] * BATCH_CLIPS, Work())  # to warm up
    counts = models.scorer.frame_count, models.encoder.frame_count
    for count in counts:
        count.needed = count.padding = 0
    started_s = time.perf_counter()
    work = run(sources(asked.folder), settings, models, asked.clips, asked.seconds, asked.decoders)
    wall_s = time.perf_counter() - started_s
    _print(work, wall_s, models, asked.precision, asked.decoders)


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=200.0)
    parser.add_argument("--precision", choices=("float32", "tf32", "bfloat16"), default="bfloat16")
    parser.add_argument("--decoders", type=int, default=max(1, (os.cpu_count() or 2) - 1))
    parser.add_argument("--tiny", action="store_true")
    return parser.parse_args(arguments)


def sources(folder: Path) -> Iterator[SourceRecord]:
    """Gives the folder's videos over and over, each time under another name, so that other instants are drawn."""
    videos = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    if not videos:
        raise SystemExit(f"error: {folder} holds no videos")
    copy = 0
    while True:
        for path in videos:
            uri = f"{copy}/{path.name}"
            caption = (CaptionSpan(CAPTION),)
            size_bytes = path.stat().st_size
            place = MediaPlace(str(path.resolve()))
            yield SourceRecord(uri, uri, place, "bench", "short-videos", "-", caption, "given", size_bytes, 0)
        copy += 1


def run(
    sources: Iterator[SourceRecord],
    settings: ClipSettings,
    models: Models,
    clips: int,
    seconds: float,
    decoders: int,
) -> Work:
    """Keeps every decoder at a source and the models at a batch, until there are enough clips or no more time."""
    work, batch, until_s = Work(), list[np.ndarray](), time.perf_counter() + seconds
    processes = {process.connection: process for process in (DecoderProcess() for _ in range(decoders))}
    pending = islice(sources, clips * 4)  # a source may be too short: then another one is taken
    given = 0
    try:
        with ThreadPoolExecutor(1) as device:
            at_work: list[Future[None]] = []
            for process in processes.values():
                process.start(decode_source, next(pending), settings, ("short-videos",))
            while given < clips and time.perf_counter() < until_s:
                for connection in wait(list(processes), 1.0):
                    step, clip = _step(processes[connection])
                    add_seconds(work.seconds, step.seconds)
                    if step.failure is not None:
                        work.failures.append(step.failure.error)
                    if clip is not None:
                        batch.append(clip.clip.frames_nhwc)
                    if step.ended:
                        if not processes[connection].has_ended():
                            raise SystemExit("error: a decoder does not end")
                        source = next(pending, None)
                        if source is None:
                            raise SystemExit(f"error: too few clips: {work.failures[-1:]}")
                        processes[connection].start(decode_source, source, settings, ("short-videos",))
                while len(batch) >= BATCH_CLIPS:
                    if len(at_work) >= BATCHES_AHEAD:
                        at_work.pop(0).result()
                    at_work.append(device.submit(models.take, batch[:BATCH_CLIPS], work))
                    given, batch = given + BATCH_CLIPS, batch[BATCH_CLIPS:]
            for future in at_work:
                future.result()
    finally:
        for process in processes.values():
            process.kill()
    return work


def _step(process: DecoderProcess) -> tuple[DecodeStep, DecodedClip | None]:
    step: DecodeStep = process.take()
    return step, process.take() if step.clip_id is not None else None


def write_models(folder: Path, size: Size) -> None:
    """Writes a VAE and an open_clip model with random weights, as a profile names them."""
    torch.manual_seed(0)
    levels = len(size.vae_widths)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=size.vae_widths,
        layers_per_block=2,
        latent_channels=4,
    )
    vae.save_pretrained(folder / "vae")
    (folder / "clip").mkdir()
    config = {"model_cfg": size.clip_config, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    (folder / "clip/open_clip_config.json").write_text(json.dumps(config))
    clip_model = open_clip.CLIP(**size.clip_config)
    save_file(clip_model.state_dict(), folder / "clip/open_clip_model.safetensors")


def _print(work: Work, wall_s: float, models: Models, precision: str, decoders: int) -> None:
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    print(f"{where}, torch {torch.__version__}, {precision}, {decoders} decoders, {os.cpu_count()} cores\n")
    print_head("what", "value")
    print_row("clips", str(work.clips))
    print_row("wall", f"{wall_s:.1f} s")
    print_row("clips per second", f"{work.clips / wall_s:.2f}")
    for stage, value in sorted(work.seconds.items()):
        print_row(f"{stage}, seconds in all", f"{value:.1f} s")
    busy_s = work.seconds.get("score", 0.0) + work.seconds.get("encode", 0.0)
    print_row("share of the time that the models wait", f"{100 * (1 - busy_s / wall_s):.0f} %")
    for name, count in (("CLIP", models.scorer.frame_count), ("VAE", models.encoder.frame_count)):
        through = (count.needed + count.padding) / max(1, count.needed)
        print_row(f"frames through {name} over frames needed", f"{through:.2f} ({count.padding} of padding)")
    print_row("sources that gave nothing", str(len(work.failures)))


if __name__ == "__main__":
    main()
