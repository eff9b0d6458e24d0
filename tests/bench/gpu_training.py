"""Training steps at Stable Diffusion 2.1's size on a GPU: the engine's own, on random weights and latents."""

from __future__ import annotations

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
from tests.bench.tables import print_head, print_row
from vidrd_model import TemporalUNet

FRAMES, LATENT_SIZE, TEXT_TOKENS = 8, 32, 77
WARM_UP_STEPS, TIMED_STEPS = 3, 7


class RandomPart(TemporalPart):
    """The UNet's part with random latents and text states in the place of a dataset and a text encoder."""

    def __init__(self, unet: TemporalUNet, settings: TemporalSettings) -> None:
        self.settings = settings
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
        self._no_text_1td = torch.zeros(1, TEXT_TOKENS, self.unet.config.cross_attention_dim, device=device)

    def random_batch(self) -> TemporalBatch:
        """As many clips as a step has."""
        clips = [EpochClip(0, clip) for clip in self.train_clips]
        shape = (len(clips), 4, FRAMES, LATENT_SIZE, LATENT_SIZE)
        return TemporalBatch(
            clips=clips,
            keys_b=torch.arange(len(clips)),
            latents_bcnhw=torch.randn(shape),
            noise_bcnhw=torch.randn(shape),
            offset_bc=torch.zeros(shape[:2]),
            timesteps_b=torch.randint(1000, (len(clips),)),
            captions=[clip.caption for clip in self.train_clips],
            text_btd=torch.randn(len(clips), TEXT_TOKENS, self.unet.config.cross_attention_dim),
        ).to(self.device)


@dataclass(frozen=True)
class Way:
    """A way to train: how many clips at once, checkpointing or not, compiled or not, the precision being bfloat16."""

    batch_size: int
    gradient_checkpointing: bool = False
    compile: bool = False
    trainable: Trainable = "temporal"

    def settings(self) -> TemporalSettings:
        """As a profile would say it; nothing here ends, so the number of steps does not matter."""
        return TemporalSettings(
            steps=1000,
            num_workers=1,
            use_gpu=True,
            precision="bfloat16",
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


def print_training_rows(unet: TemporalUNet, peak_flops_per_s: float) -> None:
    """A row per way: clips per second, the GPU's memory at its peak, and the share of `peak_flops_per_s`.

    The share counts each operation that a step cannot do without once, as often as it may be computed.
    """
    print()
    what = f"training step, {FRAMES} frames"
    print_head(what, "clips", "clips per s", "peak memory", "of the matrix product", "first step")
    flops_per_clip: dict[str, float] = {}
    for way in WAYS:
        if way.trainable not in flops_per_clip:
            flops_per_clip[way.trainable] = _counted_flops(unet, Way(1, trainable=way.trainable))
        gc.collect()
        torch.cuda.empty_cache()
        first_s, seconds, peak_bytes = _measure(unet, way)
        share = flops_per_clip[way.trainable] * way.batch_size / seconds / peak_flops_per_s
        name = f"{way.trainable}, " + ("compiled" if way.compile else "eager")
        name += ", checkpointing" if way.gradient_checkpointing else ""
        rate, peak = f"{way.batch_size / seconds:.1f}", f"{peak_bytes / 2**30:.1f} GiB"
        print_row(name, way.batch_size, rate, peak, f"{100 * share:.0f} %", f"{first_s:.0f} s")


def _measure(unet: TemporalUNet, way: Way) -> tuple[float, float, int]:
    """Seconds of the first step, of a later one, each from a batch on the GPU to its figures, and the peak memory."""
    training, batch = _training(unet, way)
    torch.cuda.reset_peak_memory_stats()
    times_s = []
    for _ in range(WARM_UP_STEPS + TIMED_STEPS):
        torch.cuda.synchronize()
        started_s = perf_counter()
        training.step(training.part.model, [batch])
        torch.cuda.synchronize()
        times_s.append(perf_counter() - started_s)
    return times_s[0], median(times_s[WARM_UP_STEPS:]), torch.cuda.max_memory_allocated()


def _counted_flops(unet: TemporalUNet, way: Way) -> float:
    training, batch = _training(unet, way)
    with FlopCounterMode(display=False) as counter:
        training.step(training.part.model, [batch])
    return float(counter.get_total_flops())


def _training(unet: TemporalUNet, way: Way) -> tuple[Training, TemporalBatch]:
    part = RandomPart(unet, way.settings())
    training = Training(part, part.settings, Group(device=torch.device("cuda")))
    return training, part.random_batch()
