"""Frames to scaled latents: the posterior of the VAE times its scaling factor, in float16."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from tasks.errors import ItemError
from tasks.model_files import vae_config, vae_folder
from vidrd_model import TemporalVAE


@dataclass(frozen=True)
class Latents:
    """Scaled latents of a clip, float16 (n, 4, h/8, w/8): the posterior's mean and, where asked for, its deviation."""

    mean_nchw: np.ndarray
    std_nchw: np.ndarray | None = None


class LatentEncoder:
    """The VAE of a model folder, loaded once, that encodes clips of one shape.

    It always sees `batch_clips` clips, padded with copies when there are fewer, so latents depend neither on the
    order of the work nor on what else is in flight.
    """

    def __init__(self, model: str | Path, batch_clips: int = 1, with_std: bool = False) -> None:
        folder = vae_folder(model)
        is_image_vae = vae_config(folder).get("_class_name") == "AutoencoderKL"
        load = TemporalVAE.from_image_vae if is_image_vae else TemporalVAE.from_pretrained
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._vae = load(folder).to(self._device, torch.float32).eval()
        self._batch_clips, self._with_std = batch_clips, with_std

    def encode(self, clips_bnhwc: Sequence[np.ndarray]) -> list[Latents | ItemError]:
        """Encodes uint8 RGB clips (n, h, w, 3); in the place of one that gives no finite latents stands its error."""
        encoded: list[Latents | ItemError] = []
        for start in range(0, len(clips_bnhwc), self._batch_clips):
            batch = clips_bnhwc[start : start + self._batch_clips]
            encoded += self._encode_padded(batch)[: len(batch)]
        return encoded

    def _encode_padded(self, clips: Sequence[np.ndarray]) -> list[Latents | ItemError]:
        padded = [*clips, *[clips[-1]] * (self._batch_clips - len(clips))]
        pixels_nchw = torch.from_numpy(np.concatenate(padded)).permute(0, 3, 1, 2)
        with torch.inference_mode():
            pixels_nchw = pixels_nchw.to(self._device).float() / 127.5 - 1
            posterior, scale = self._vae.encode(pixels_nchw).latent_dist, self._vae.config.scaling_factor
            means = (posterior.mean * scale).half().cpu().numpy()
            stds = (posterior.std * scale).half().cpu().numpy() if self._with_std else None
        shape = len(padded), len(clips[0]), *means.shape[1:]
        means_bnchw = means.reshape(shape)
        stds_bnchw = [None] * len(padded) if stds is None else stds.reshape(shape)
        return [_finite(mean, std) for mean, std in zip(means_bnchw, stds_bnchw, strict=True)]


def _finite(mean_nchw: np.ndarray, std_nchw: np.ndarray | None) -> Latents | ItemError:
    if not np.isfinite(mean_nchw).all() or (std_nchw is not None and not np.isfinite(std_nchw).all()):
        return ItemError("the latents are not finite in float16", stage="encode")
    return Latents(mean_nchw, std_nchw)
