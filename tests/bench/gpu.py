"""Measures the model at Stable Diffusion 2.1's size on a GPU and prints one table.

    python -m tests.bench.gpu

It needs torch, diffusers, transformers, pydantic and PyAV only, and no weights: they are random, which costs the same
time and memory. Peers run at the same widths and shapes in the same process, one run of each in turn.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from diffusers import DDIMScheduler, UNet3DConditionModel, UNetMotionModel
from torch.utils.flop_counter import FlopCounterMode

from tests.bench.gpu_training import print_training_rows
from tests.bench.tables import print_head, print_row
from vidrd_model import TemporalUNet, TemporalVAE, VidRDPipeline
from vidrd_model.blocks import BLOCKS
from vidrd_model.compiling import compile_blocks
from vidrd_model.sampling import ClipSampler, ClipToSample
from vidrd_model.sampling_options import SamplingOptions

WIDTHS, TEXT_WIDTH, TEXT_TOKENS = (320, 640, 1280, 1280), 1024, 77
FRAMES, LATENT_SIZE = 8, 32
RUNS = 7


def main() -> None:
    if not torch.cuda.is_available():
        raise SystemExit("error: no CUDA device: this bench is for a GPU")
    torch.manual_seed(0)
    print(
        f"{torch.cuda.get_device_name()}, torch {torch.__version__}, bfloat16, {FRAMES} frames of 256x256\n"
    )
    print_head("what", "median", "peak memory")
    for rows in (unet_rows, clip_rows, lockstep_rows, sampling_rows):
        for name, seconds, unit in rows():
            peak = torch.cuda.max_memory_allocated() / 2**30
            print_row(name, f"{1000 * seconds:.1f} ms {unit}", f"{peak:.1f} GiB")
        torch.cuda.empty_cache()
    print_training_rows(sd21_unet(torch.float32), matrix_product_flops_per_s())


def unet_rows() -> Iterator[tuple[str, float, str]]:
    """One forward pass with guidance's batch of two."""
    attention_levels = {"cross_attention_dim": TEXT_WIDTH, "block_out_channels": WIDTHS}
    models: dict[str, Any] = {"TemporalUNet": sd21_unet().eval()}
    with torch.device("cuda"):
        models["diffusers UNetMotionModel"] = UNetMotionModel(
            **attention_levels, num_attention_heads=(5, 10, 20, 20)
        )
        models["diffusers UNet3DConditionModel"] = UNet3DConditionModel(
            **attention_levels, attention_head_dim=64
        )
    runs = {}
    for name, model in models.items():
        model.to(torch.bfloat16).eval()
        text = text_states(2 * FRAMES if isinstance(model, UNetMotionModel) else 2)
        runs[name] = lambda model=model, text=text: model(noise(2), 500, text).sample
    with torch.inference_mode():
        seconds = in_turn(runs)
        for name, run in runs.items():
            torch.cuda.reset_peak_memory_stats()
            run()
            millions = sum(p.numel() for p in models[name].parameters()) / 1e6
            yield f"{name} ({millions:.0f} M parameters), one pass, batch 2", seconds[name], "a pass"


def clip_rows() -> Iterator[tuple[str, float, str]]:
    """One clip without decoding, eager and compiled, and the share of the card's matrix product that it reaches."""
    peak = matrix_product_flops_per_s()
    unet, text, steps = sd21_unet().eval(), text_states(1), 50
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        unet(noise(2), 500, text_states(2))
    flops = steps * counter.get_total_flops()

    def clip() -> None:
        ClipSampler(unet, sd21_scheduler(), SamplingOptions(num_inference_steps=steps)).next_clip(
            ClipToSample(noise(1), text, text)
        )

    for how in ("eager", "compiled"):
        if how == "compiled":
            compile_blocks(unet, BLOCKS, dynamic=True)
        torch.cuda.reset_peak_memory_stats()
        seconds = in_turn({"": clip}, runs=3)[""]
        share = f"{100 * flops / seconds / peak:.0f} % of {peak / 1e12:.0f} TFLOP/s"
        yield f"one clip without decoding, {steps} steps, {how}: {share}", seconds, "a clip"


def lockstep_rows() -> Iterator[tuple[str, float, str]]:
    """Clips that take each step together, without decoding."""
    unet, text, steps = sd21_unet().eval(), text_states(1), 50
    for clips in (1, 4, 16):

        def window(clips: int = clips) -> None:
            sampler = ClipSampler(unet, sd21_scheduler(), SamplingOptions(num_inference_steps=steps))
            sampler.next_window([ClipToSample(noise(1), text, text) for _ in range(clips)])

        torch.cuda.reset_peak_memory_stats()
        seconds = in_turn({"": window}, runs=1)[""]
        yield f"{clips} clips at once, without decoding, {steps} steps", seconds / clips, "a clip"


def sampling_rows() -> Iterator[tuple[str, float, str]]:
    """Whole clips, 50 steps with guidance, decoded with the temporal decoder."""
    pipe = VidRDPipeline(unet=sd21_unet().eval(), scheduler=sd21_scheduler(), vae=sd21_vae().eval())
    text, steps = text_states(1), 50
    for clips in (1, 3, 10):

        def run(clips: int = clips) -> None:
            sampler = ClipSampler(pipe.unet, pipe.scheduler, SamplingOptions(num_inference_steps=steps))
            for _ in range(clips):
                pipe.decode_latents(sampler.next_clip(ClipToSample(noise(1), text, text)))

        torch.cuda.reset_peak_memory_stats()
        seconds = in_turn({"": run}, runs=1)[""]
        yield f"sampling and decoding {clips} clips, {steps} steps", seconds / (clips * FRAMES), "a frame"


def matrix_product_flops_per_s() -> float:
    """What the card reaches in one large product of bfloat16 matrices."""
    size = 8192
    left, right = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    return 2 * size**3 / in_turn({"": lambda: left @ right})[""]


def in_turn(works: dict[str, Callable[[], Any]], runs: int = RUNS) -> dict[str, float]:
    """The median seconds of each work, after one to warm up, all works once before any runs again."""
    taken_s: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(runs + 1):
        for name, work in works.items():
            torch.cuda.synchronize()
            started = time.perf_counter()
            work()
            torch.cuda.synchronize()
            if turn:
                taken_s[name].append(time.perf_counter() - started)
    return {name: statistics.median(seconds) for name, seconds in taken_s.items()}


def noise(videos: int) -> torch.Tensor:
    shape = (videos, 4, FRAMES, LATENT_SIZE, LATENT_SIZE)
    return torch.randn(shape, device="cuda", dtype=torch.bfloat16)


def text_states(texts: int) -> torch.Tensor:
    return torch.randn(texts, TEXT_TOKENS, TEXT_WIDTH, device="cuda", dtype=torch.bfloat16)


def sd21_unet(dtype: torch.dtype = torch.bfloat16) -> TemporalUNet:
    with torch.device("cuda"):
        unet = TemporalUNet(
            sample_size=64,
            block_out_channels=WIDTHS,
            attention_head_dim=(5, 10, 20, 20),
            cross_attention_dim=TEXT_WIDTH,
        )
    return unet.to(dtype)


def sd21_vae() -> TemporalVAE:
    with torch.device("cuda"):
        vae = TemporalVAE(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
        )
    return vae.to(torch.bfloat16)


def sd21_scheduler() -> DDIMScheduler:
    # The tiny models' schedule is Stable Diffusion 2.1's.
    return DDIMScheduler.from_pretrained("infra/profiles/tiny/model/scheduler")


if __name__ == "__main__":
    main()
