"""Clips of a video: one after another, many at once, decoded, and compiled."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.bench.gpu.record import Record
from tests.bench.gpu.size import FRAMES, Size, scheduler
from tests.bench.gpu.timing import begin_memory, in_turn, matrix_product_flops_per_s, peak_memory
from vidrd_model import TemporalUNet, VidRDPipeline
from vidrd_model.blocks import BLOCKS
from vidrd_model.compiling import compile_blocks
from vidrd_model.sampling import ClipSampler, ClipToSample
from vidrd_model.sampling_options import SamplingOptions

AT_ONCE = (1, 4, 16)
PLAYED_FPS = 4


def run(record: Record, size: Size, _: argparse.Namespace) -> None:
    """Eager rows, then whole clips with their decoding, then compiled ones."""
    peak = matrix_product_flops_per_s(size.device, size.dtype)
    unet = size.unet().eval()
    flops = size.steps * _flops_of_a_pass(unet, size)
    record.head(
        f"{size.steps} steps with guidance, {size.precision}",
        "s a clip",
        "frames per s",
        f"times {PLAYED_FPS} fps",
        "of the matrix product",
        "peak memory",
    )

    def print_windows(how: str) -> None:
        for clips in AT_ONCE:
            name = f"{how}, {clips} clips at once" if clips > 1 else f"{how}, one by one"
            _print(record, name, _window(unet, size, clips), clips, flops / peak)

    print_windows("eager")
    _print(record, "eager, one by one, decoded", _decoded(unet, size), 1, None)
    record.note("compiling: the first pass of a kind takes its time, which is not in the rows")
    compile_blocks(unet, BLOCKS, dynamic=True)
    print_windows("compiled")


def _print(record: Record, name: str, work: Callable[[], None], clips: int, needed_s: float | None) -> None:
    begin_memory()
    clip_s = in_turn({"": work}, runs=1)[""] / clips
    fps = FRAMES / clip_s
    share = "-" if needed_s is None else f"{100 * needed_s / clip_s:.0f} %"
    record.row(name, f"{clip_s:.2f}", f"{fps:.1f}", f"{fps / PLAYED_FPS:.1f}", share, peak_memory())


def _window(unet: TemporalUNet, size: Size, clips: int) -> Callable[[], None]:
    text_btd = size.text_states(1)

    def sample() -> None:
        sampler = ClipSampler(unet, scheduler(), SamplingOptions(num_inference_steps=size.steps))
        sampler.next_window([ClipToSample(size.noise(1), text_btd, text_btd) for _ in range(clips)])

    return sample


def _decoded(unet: TemporalUNet, size: Size) -> Callable[[], None]:
    pipe = VidRDPipeline(unet=unet, scheduler=scheduler(), vae=size.vae().eval())
    text_btd = size.text_states(1)

    def sample() -> None:
        sampler = ClipSampler(unet, scheduler(), SamplingOptions(num_inference_steps=size.steps))
        pipe.decode_latents(sampler.next_clip(ClipToSample(size.noise(1), text_btd, text_btd)))

    return sample


def _flops_of_a_pass(unet: TemporalUNet, size: Size) -> int:
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        unet(size.noise(2), 500, size.text_states(2))
    return int(counter.get_total_flops())
