"""Training steps: the engine's own, on random weights and latents."""

from __future__ import annotations

import argparse
import gc
from dataclasses import asdict, dataclass
from statistics import median
from time import perf_counter

import torch
from diffusers import DDPMScheduler
from torch.utils.flop_counter import FlopCounterMode

from tasks.training.batches import TemporalBatch
from tasks.training.devices import Group, place
from tasks.training.engine import Training
from tasks.training.sampler import EpochClip
from tasks.training.settings import TemporalSettings, Trainable
from tasks.training.splits import ClipRow
from tasks.training.temporal_part import TemporalPart
from tests.bench.gpu.record import Record
from tests.bench.gpu.size import Size
from tests.bench.gpu.timing import begin_memory, matrix_product_flops_per_s, peak_memory, wait
from vidrd_model import TemporalUNet

WARM_UP_STEPS, TIMED_STEPS = 3, 7


class RandomPart(TemporalPart):
    """The UNet's part with random latents and text states in the place of a dataset and a text encoder."""

    def __init__(self, unet: TemporalUNet, size: Size, settings: TemporalSettings) -> None:
        self.settings, self.size = settings, size
        # The tiny models' schedule is Stable Diffusion 2.1's.
        self.scheduler = DDPMScheduler.from_pretrained("infra/profiles/tiny/model/scheduler")
        self.model = self.unet = unet
        self.train_clips = [ClipRow(row, str(row), "a caption") for row in range(settings.batch_size)]
        unet.float()  # what another way left in bfloat16
        unet.set_trainable(settings.trainable)
        if settings.gradient_checkpointing:
            unet.enable_gradient_checkpointing()
        else:
            unet.disable_gradient_checkpointing()

    def prepare(self, device: torch.device) -> None:
        """As for a real one, without the other models."""
        self.device = device
        self.scheduler.alphas_cumprod = self.scheduler.alphas_cumprod.to(device)
        place(self.unet, device, self.settings.precision)
        self._no_text_1td = torch.zeros(1, self.size.text_tokens, self.size.text_width, device=device)

    def random_batch(self) -> TemporalBatch:
        """As many clips as a step has."""
        clips = [EpochClip(0, clip) for clip in self.train_clips]
        latents_bcnhw = self.size.noise(len(clips)).float()
        return TemporalBatch(
            clips=clips,
            keys_b=torch.arange(len(clips)),
            latents_bcnhw=latents_bcnhw,
            noise_bcnhw=torch.randn_like(latents_bcnhw),
            offset_bc=torch.zeros(latents_bcnhw.shape[:2]),
            timesteps_b=torch.randint(1000, (len(clips),)),
            captions=[clip.caption for clip in self.train_clips],
            text_btd=self.size.text_states(len(clips)).float(),
        ).to(self.device)


@dataclass(frozen=True)
class Way:
    """A way to train: how many clips at once, checkpointing or not, compiled or not, and which layers."""

    batch_size: int
    gradient_checkpointing: bool = False
    compile: bool = False
    trainable: Trainable = "temporal"

    def settings(self, size: Size) -> TemporalSettings:
        """As a profile would say it; nothing here ends, so the number of steps does not matter."""
        return TemporalSettings(
            steps=1000,
            num_workers=1,
            use_gpu=size.device == "cuda",
            precision=size.precision,
            text_states="stored",
            **asdict(self),
        )


# Compiled ones last: a block that has been compiled stays so.
WAYS = (
    *(Way(batch, checkpointing) for checkpointing in (False, True) for batch in (1, 4, 8)),
    Way(32),
    Way(8, trainable="paper"),
    Way(8, compile=True),
    Way(8, gradient_checkpointing=True, compile=True),
    Way(32, compile=True),
)


def run(record: Record, size: Size, _: argparse.Namespace) -> None:
    """A row per way: clips per second, peak memory, and the share of what a matrix product reaches.

    The share counts each operation that a step cannot do without once, as often as it may be computed.
    """
    peak_flops_per_s = matrix_product_flops_per_s(size.device, size.dtype)
    unet = size.unet(torch.float32)
    record.head(
        "training step, 8 frames",
        "clips",
        "clips per s",
        "peak memory",
        "of the matrix product",
        "first step",
    )
    flops_per_clip: dict[str, float] = {}
    for way in WAYS:
        if way.trainable not in flops_per_clip:
            flops_per_clip[way.trainable] = _counted_flops(unet, size, Way(1, trainable=way.trainable))
        gc.collect()
        if size.device == "cuda":
            torch.cuda.empty_cache()
        first_s, step_s = _measure(unet, size, way)
        share = flops_per_clip[way.trainable] * way.batch_size / step_s / peak_flops_per_s
        name = f"{way.trainable}, " + ("compiled" if way.compile else "eager")
        name += ", checkpointing" if way.gradient_checkpointing else ""
        rate = f"{way.batch_size / step_s:.1f}"
        record.row(name, way.batch_size, rate, peak_memory(), f"{100 * share:.0f} %", f"{first_s:.0f} s")


def _measure(unet: TemporalUNet, size: Size, way: Way) -> tuple[float, float]:
    """Seconds of the first step, and of a later one, each from a batch on the device to its figures."""
    training, batch = _training(unet, size, way)
    begin_memory()
    times_s = []
    for _ in range(WARM_UP_STEPS + TIMED_STEPS):
        wait()
        started_s = perf_counter()
        training.step(training.part.model, [batch])
        wait()
        times_s.append(perf_counter() - started_s)
    return times_s[0], median(times_s[WARM_UP_STEPS:])


def _counted_flops(unet: TemporalUNet, size: Size, way: Way) -> float:
    training, batch = _training(unet, size, way)
    with FlopCounterMode(display=False) as counter:
        training.step(training.part.model, [batch])
    return float(counter.get_total_flops())


def _training(unet: TemporalUNet, size: Size, way: Way) -> tuple[Training, TemporalBatch]:
    part = RandomPart(unet, size, way.settings(size))
    training = Training(part, part.settings, Group(device=torch.device(size.device)))
    return training, part.random_batch()
