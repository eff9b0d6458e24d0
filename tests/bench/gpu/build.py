"""A build's work: real media to latents, without tables and without Ray.

The videos of a folder are read again and again under other names until there are enough clips. Decoders are the
processes of a small build; the models are its scoring and encoding classes, on a thread of their own.
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
from tests.bench.gpu.record import Record
from tests.bench.gpu.size import Size

SUFFIXES = {".mp4", ".mkv", ".avi", ".webm", ".mov"}
BATCH_CLIPS, BATCHES_AHEAD = 8, 2
_TO_END_S = 5.0
CAPTION = "a film"


def clip_config(size: Size) -> dict:
    """The architecture of CLIP; of a small one what a CPU does in seconds."""
    if size.device == "cuda":
        return open_clip.get_model_config("ViT-B-32")
    vision = {"image_size": 64, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16}
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    return {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}


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


def run(record: Record, size: Size, asked: argparse.Namespace) -> None:
    """Clips per second, seconds by stage, and how busy the models were."""
    with tempfile.TemporaryDirectory(prefix="vidrd-bench-") as name:
        write_models(Path(name), size)
        models = Models(Path(name), asked.precision)
    settings = ClipSettings(fps=8.0, width=size.side_px, height=size.side_px)
    models.take([np.zeros((8, size.side_px, size.side_px, 3), np.uint8)] * BATCH_CLIPS, Work())  # to warm up
    counts = models.scorer.frame_count, models.encoder.frame_count
    for count in counts:
        count.needed = count.padding = 0
    started_s = time.perf_counter()
    seconds = record.left_s - _TO_END_S
    work = build(sources(asked.videos), settings, models, asked.clips, seconds, asked.decoders)
    _print(record, work, time.perf_counter() - started_s, models, asked)


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


def build(
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
    config = {"model_cfg": clip_config(size), "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    (folder / "clip/open_clip_config.json").write_text(json.dumps(config))
    clip_model = open_clip.CLIP(**clip_config(size))
    save_file(clip_model.state_dict(), folder / "clip/open_clip_model.safetensors")


def _print(record: Record, work: Work, wall_s: float, models: Models, asked: argparse.Namespace) -> None:
    record.head(f"{asked.precision}, {asked.decoders} decoders, {os.cpu_count()} cores", "value")
    record.row("clips", work.clips)
    record.row("wall", f"{wall_s:.1f} s")
    record.row("clips per second", f"{work.clips / wall_s:.2f}")
    for stage, value in sorted(work.seconds.items()):
        record.row(f"{stage}, seconds in all", f"{value:.1f} s")
    busy_s = work.seconds.get("score", 0.0) + work.seconds.get("encode", 0.0)
    record.row("share of the time that the models wait", f"{100 * (1 - busy_s / wall_s):.0f} %")
    for name, count in (("CLIP", models.scorer.frame_count), ("VAE", models.encoder.frame_count)):
        through = (count.needed + count.padding) / max(1, count.needed)
        record.row(f"frames through {name} over frames needed", f"{through:.2f} ({count.padding} of padding)")
    record.row("sources that gave nothing", len(work.failures))
