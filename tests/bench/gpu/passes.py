"""One pass of the UNet with guidance's batch of two, beside diffusers' video UNets of the same widths."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from diffusers import UNet3DConditionModel, UNetMotionModel

from tests.bench.gpu.record import Record
from tests.bench.gpu.size import FRAMES, Size
from tests.bench.gpu.timing import begin_memory, in_turn, peak_memory
from vidrd_model.blocks import BLOCKS
from vidrd_model.compiling import compile_blocks


def run(record: Record, size: Size, _: argparse.Namespace) -> None:
    """Ours and the others' in turn, then ours as a graph of launches, and compiled."""
    record.head(f"one pass, batch 2, {size.precision}", "median", "peak memory")
    models, passes = _models(size), dict[str, Callable[[], Any]]()
    for name, model in models.items():
        text = size.text_states(2 * FRAMES if isinstance(model, UNetMotionModel) else 2)
        passes[name] = lambda model=model, text=text: model(size.noise(2), 500, text).sample
    with torch.inference_mode():
        _print(record, passes)
        ours = next(iter(models.values()))
        if size.device == "cuda":
            _print(record, {"TemporalUNet, as one CUDA graph": _as_graph(ours, size)})
        compile_blocks(ours, BLOCKS, dynamic=True)
        _print(record, {"TemporalUNet, compiled block by block": next(iter(passes.values()))})


def _models(size: Size) -> dict[str, Any]:
    models: dict[str, Any] = {"TemporalUNet": size.unet()}
    with torch.device(size.device):
        models["diffusers UNetMotionModel"] = UNetMotionModel(
            num_attention_heads=size.heads,
            motion_num_attention_heads=size.heads,
            **size.blocks("Motion"),
        )
        models["diffusers UNet3DConditionModel"] = UNet3DConditionModel(
            attention_head_dim=min(64, size.widths[0]), **size.blocks("3D")
        )
    millions = {name: sum(p.numel() for p in model.parameters()) / 1e6 for name, model in models.items()}
    return {
        f"{name} ({millions[name]:.0f} M parameters)": model.to(size.dtype).eval()
        for name, model in models.items()
    }


def _print(record: Record, passes: dict[str, Callable[[], Any]]) -> None:
    seconds = in_turn(passes)
    for name, one_pass in passes.items():
        begin_memory()
        one_pass()
        record.row(name, f"{1000 * seconds[name]:.1f} ms", peak_memory())


def _as_graph(unet: Any, size: Size) -> Callable[[], Any]:
    """The same kernels, launched at once: what remains when no launch is waited for."""
    noise_bcnhw, text_btd = size.noise(2), size.text_states(2)
    timestep = torch.tensor(500, device=size.device)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            unet(noise_bcnhw, timestep, text_btd)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        unet(noise_bcnhw, timestep, text_btd)
    return graph.replay
