"""Frames to scaled latents: the posterior of the VAE times its scaling factor, in float16."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from tasks.errors import ItemError
from tasks.latents.precision import DTYPES, Precision, products_in
from tasks.model_files import vae_config, vae_folder
from tasks.passes import FrameCount, Passes
from vidrd_model import TemporalVAE

PASS_PIXELS_ON_A_GPU = 16 * 256 * 256
"""Pixels of one pass on a GPU, as whole frames: two clips of 8 frames of 256x256 fill it."""


@dataclass(frozen=True)
class Latents:
    """Scaled latents of a clip, float16 (n, 4, h/8, w/8): the posterior's mean and, where asked for, its deviation."""

    mean_nchw: np.ndarray
    std_nchw: np.ndarray | None = None


class LatentEncoder:
    """The VAE of a model folder, loaded once, that encodes clips of one shape.

    Frames go through it in passes of one shape (`tasks.passes`), so latents depend neither on the order of the work nor
    on what else is in flight. `pass_frames` is that shape, by default what `PASS_PIXELS_ON_A_GPU` hold or a clip;
    `threads` clips go at once on a CPU. It computes in `precision`, and gives float16 in any.
    """

    def __init__(
        self,
        model: str | Path,
        with_std: bool = False,
        threads: int = 1,
        pass_frames: int | None = None,
        precision: Precision = "float32",
    ) -> None:
        folder = vae_folder(model)
        is_image_vae = vae_config(folder).get("_class_name") == "AutoencoderKL"
        load = TemporalVAE.from_image_vae if is_image_vae else TemporalVAE.from_pretrained
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._precision, self._dtype = precision, DTYPES[precision]
        self._vae = load(folder).to(self._device, self._dtype).eval()
        self._with_std, self._threads, self._pass_frames = with_std, threads, pass_frames
        self.frame_count = FrameCount()

    def encode(self, clips_bnhwc: Sequence[np.ndarray]) -> list[Latents | ItemError]:
        """Encodes uint8 RGB clips (n, h, w, 3); in the place of one that gives no finite latents stands its error."""
        if not clips_bnhwc:
            return []
        passes = Passes(self._frames_of_a_pass(clips_bnhwc[0]), self._threads, self.frame_count)
        with products_in(self._precision):
            return [_latents(moments_nkchw) for moments_nkchw in passes.run(clips_bnhwc, self._moments)]

    def _frames_of_a_pass(self, clip_nhwc: np.ndarray) -> int | None:
        if self._pass_frames is None and self._device == "cuda":
            return max(1, PASS_PIXELS_ON_A_GPU // (clip_nhwc.shape[1] * clip_nhwc.shape[2]))
        return self._pass_frames

    @torch.inference_mode()
    def _moments(self, frames_nhwc: torch.Tensor) -> torch.Tensor:
        """Gives the scaled means, and after them the deviations if they are asked for: float16 (n, 1 or 2, c, h, w)."""
        pixels_nchw = frames_nhwc.to(self._device, non_blocking=True).permute(0, 3, 1, 2).float() / 127.5 - 1
        posterior = self._vae.encode(pixels_nchw.to(self._dtype)).latent_dist
        moments = [posterior.mean, posterior.std] if self._with_std else [posterior.mean]
        scale = self._vae.config.scaling_factor
        return torch.stack([moment.float() * scale for moment in moments], dim=1).half()


def _latents(moments_nkchw: np.ndarray) -> Latents | ItemError:
    if not np.isfinite(moments_nkchw).all():
        return ItemError("the latents are not finite in float16", stage="encode")
    mean_nchw, *std_nchw = np.ascontiguousarray(moments_nkchw.swapaxes(0, 1))
    return Latents(mean_nchw, *std_nchw)
