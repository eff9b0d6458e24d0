"""Noise that depends on (seed, prompt, clip) alone, so that a prompt's video is the same on any worker."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch

from vidrd_model.errors import ModelError
from vidrd_model.reuse import fresh_weight, past_weight
from vidrd_model.video_batch import VideoBatch


class ClipNoises:
    """The noise of each clip of a batch, unit variance where the progressive prior leaves it so.

    `first_bcnhw`, given for the first clip, is taken as it is. ModelError when it is of another shape. `clips_before`
    were not sampled: the numbers of those that are go on from theirs.
    """

    def __init__(
        self,
        batch: VideoBatch,
        shape_cnhw: tuple[int, ...],
        alpha: float,
        deviation: str,
        first_bcnhw: torch.Tensor | None = None,
        clips_before: int = 0,
    ):
        wanted = (len(batch), *shape_cnhw)
        if first_bcnhw is not None and tuple(first_bcnhw.shape) != wanted:
            raise ModelError(f"latents must be b c n h w = {wanted}, not {tuple(first_bcnhw.shape)}")
        self._batch, self._shape_cnhw, self._first_bcnhw = batch, shape_cnhw, first_bcnhw
        self._alpha, self._deviation, self._clips_before = alpha, deviation, clips_before

    def of_clip(self, clip: int) -> torch.Tensor:
        """What a clip starts from, b c n h w."""
        if clip == 0 and self._first_bcnhw is not None:
            return self._first_bcnhw
        drawn_bcnhw = clip_noise(
            self._batch.seeds, self._batch.noise_keys(clip), self._clips_before + clip, self._shape_cnhw
        )
        return progressive_noise(drawn_bcnhw, self._alpha, self._deviation)

    def generators(self, clip: int) -> list[torch.Generator]:
        """For schedulers that add noise in the steps of a clip."""
        return step_generators(self._batch.seeds, self._batch.noise_keys(clip), self._clips_before + clip)


def clip_noise(
    seeds: Sequence[int], prompts: Sequence[str], clip: int, shape_cnhw: tuple[int, ...]
) -> torch.Tensor:
    """Unit-variance noise (b, c, n, h, w) in float32, drawn on the CPU, one independent draw per video."""
    keys = zip(seeds, prompts, strict=True)
    return torch.stack([torch.randn(shape_cnhw, generator=keyed_generator(*key, clip)) for key in keys])


def step_generators(seeds: Sequence[int], prompts: Sequence[str], clip: int) -> list[torch.Generator]:
    """One generator per video, on the CPU, for schedulers that add noise in every step of a clip."""
    return [
        keyed_generator(seed, prompt, f"{clip} steps") for seed, prompt in zip(seeds, prompts, strict=True)
    ]


def progressive_noise(noise_bcnhw: torch.Tensor, alpha: float, deviation: str = "unit") -> torch.Tensor:
    """The progressive noise prior (arXiv 2305.10474, eq. 4): each frame's noise shares a part with the frame before.

    e^j = alpha / sqrt(1 + alpha^2) e^{j-1} + noise^j / sqrt(1 + alpha^2), from unit-variance noise; alpha = 0 leaves it
    as it is. `deviation` is `unit` for unit variance, or `variance`, the release's quirk Q7, which takes the variance
    1 / (1 + alpha^2) for the standard deviation and so loses some. Raises ModelError for an unknown one.
    """
    if deviation not in ("unit", "variance"):
        raise ModelError(f"noise_deviation must be unit or variance, not {deviation!r}")
    if alpha == 0:
        return noise_bcnhw
    fresh = fresh_weight(alpha) ** (2 if deviation == "variance" else 1)
    frames = [noise_bcnhw[:, :, 0]]
    for noise_bchw in noise_bcnhw.unbind(2)[1:]:
        frames.append(past_weight(alpha) * frames[-1] + fresh * noise_bchw)
    return torch.stack(frames, dim=2)


def keyed_generator(seed: int, prompt: str, use: int | str) -> torch.Generator:
    """A generator on the CPU for one use of randomness in a video, such as the number of a clip."""
    key = hashlib.blake2b(f"{seed}\n{use}\n{prompt}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(key, "little") >> 1)
