"""Reuse of the clip before: FNR, PNS and DSG (Reuse and Diffuse, section 3.2), as small functions of tensors.

Notation: clip i, frame j in 0..N-1, M prompt frames, diffusion step index s = 0..T-1.
"""

from __future__ import annotations

import math

import torch


def reverse_frames(x_bcnhw: torch.Tensor) -> torch.Tensor:
    """FNR, frame-level noise reversion: frame j takes frame N-1-j."""
    return x_bcnhw.flip(2)


def past_weight(alpha: float) -> float:
    """The share alpha / sqrt(1 + alpha^2) of the past in PNS noise; 1 for alpha = infinity."""
    return 1.0 if math.isinf(alpha) else alpha / math.sqrt(1.0 + alpha * alpha)


def fresh_weight(alpha: float) -> float:
    """The share 1 / sqrt(1 + alpha^2) of the fresh noise, so that unit variance is kept."""
    return 0.0 if math.isinf(alpha) else 1.0 / math.sqrt(1.0 + alpha * alpha)


def next_noise(
    past_noise_bcnhw: torch.Tensor, fresh_noise_bcnhw: torch.Tensor, prompt_frames: int, alpha: float
) -> torch.Tensor:
    """The first noise of the next clip from that of the last: FNR for its M prompt frames, PNS for the rest.

    z^{i,j}_T = z^{i-1,N-1-j}_T for j < M, otherwise past_weight * z^{i-1,N-1-j}_T + fresh_weight * fresh^j. All
    noise has unit variance.
    """
    reversed_bcnhw = reverse_frames(past_noise_bcnhw)
    mixed = past_weight(alpha) * reversed_bcnhw + fresh_weight(alpha) * fresh_noise_bcnhw
    mixed[:, :, :prompt_frames] = reversed_bcnhw[:, :, :prompt_frames]
    return mixed


def shared_noise(
    past_noise_bcnhw: torch.Tensor, fresh_noise_bcnhw: torch.Tensor, shared_frames: int, alpha: float
) -> torch.Tensor:
    """The first noise of the next clip of a video that is edited: frames that both clips show keep theirs.

    The clips of a given video overlap and run on, where those of FNR turn back: for the M shared frames
    z^{i,j}_T = z^{i-1,N-M+j}_T, and PNS for the rest as in `next_noise`. All noise has unit variance.
    """
    mixed = next_noise(past_noise_bcnhw, fresh_noise_bcnhw, 0, alpha)
    mixed[:, :, :shared_frames] = last_frames(past_noise_bcnhw, shared_frames)
    return mixed


def last_frames(x_bcnhw: torch.Tensor, count: int) -> torch.Tensor:
    """The last frames of a clip in their order, perhaps none."""
    return x_bcnhw[:, :, x_bcnhw.shape[2] - count :]


def guided_steps(prompt_frames: int, num_steps: int, beta: float) -> list[int]:
    """DSG's schedule: how many of the first steps the latents of each prompt frame are overwritten.

    Frame j is overwritten before step s while s < (M - j) * (T / M) * beta. Evaluated in Python floats from left to
    right, as the authors' code does it: exact arithmetic gives another count in some settings.
    """
    counts = []
    for frame in range(prompt_frames):
        bound = (prompt_frames - frame) * (num_steps / prompt_frames) * beta
        counts.append(sum(1 for step in range(num_steps) if step < bound))
    return counts


def guided_frames(steps_per_frame: list[int], step: int) -> int:
    """How many leading frames DSG overwrites before `step`; the counts fall from frame to frame."""
    return sum(1 for count in steps_per_frame if step < count)


def closing_frames(prompt_frames: int, num_frames: int) -> int:
    """How many of the first clip's first frames the last clip of a loop ends with, at most those that M leaves free."""
    return min(prompt_frames, num_frames - prompt_frames)


def closing_guidance(latents_bcnhw: torch.Tensor, first_bckhw: torch.Tensor) -> torch.Tensor:
    """DSG towards the beginning: seen backwards, the last clip of a loop goes on from the first one.

    z^{i,N-1-j}_t := z^{0,j}_t for the first K frames j of clip 0, `first_bckhw`. Gives a new tensor.
    """
    return reverse_frames(staged_guidance(reverse_frames(latents_bcnhw), first_bckhw))


def staged_guidance(latents_bcnhw: torch.Tensor, past_bcmhw: torch.Tensor) -> torch.Tensor:
    """DSG, denoising with staged guidance: the leading m frames become the past clip's, as they are given."""
    m = past_bcmhw.shape[2]
    return torch.cat([past_bcmhw.to(latents_bcnhw.dtype), latents_bcnhw[:, :, m:]], dim=2)
