"""Frames to scaled latents: the posterior of the VAE times its scaling factor, in float16."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np

from tasks.errors import ItemError, RequestError
from tasks.model_files import hub_folder

_WEIGHTS = "diffusion_pytorch_model.safetensors"
_ENCODER_KEYS = ("encoder.", "quant_conv.")


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
        import torch

        from vidrd_model import TemporalVAE

        folder = vae_folder(model)
        is_image_vae = _config(folder).get("_class_name") == "AutoencoderKL"
        load = TemporalVAE.from_image_vae if is_image_vae else TemporalVAE.from_pretrained
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._vae = load(folder).to(self._device, torch.float32).eval()
        self._batch_clips, self._with_std = batch_clips, with_std

    def encode(self, clips_bnhwc: Sequence[np.ndarray]) -> list[Latents | ItemError]:
        """Encode uint8 RGB clips (n, h, w, 3); in the place of one that gives no finite latents stands its error."""
        encoded: list[Latents | ItemError] = []
        for start in range(0, len(clips_bnhwc), self._batch_clips):
            batch = clips_bnhwc[start : start + self._batch_clips]
            encoded += self._encode_padded(batch)[: len(batch)]
        return encoded

    def _encode_padded(self, clips: Sequence[np.ndarray]) -> list[Latents | ItemError]:
        import torch

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


def vae_folder(model: str | Path) -> Path:
    """The VAE's folder of a model folder or of a model on the hub; RequestError when there is none."""
    if Path(model).is_dir():
        folder = Path(model) / "vae"
    elif Path(model).is_absolute():
        raise RequestError(f"model: {model} is not a folder")
    else:
        folder = hub_folder("model", str(model), ["vae/config.json", f"vae/{_WEIGHTS}"]) / "vae"
    for name in ("config.json", _WEIGHTS):
        if not (folder / name).is_file():
            raise RequestError(f"model: {model} is not a model with a VAE (no vae/{name} in it)")
    return folder


def latent_shape(model: str | Path, num_frames: int, height: int, width: int) -> tuple[int, int, int, int]:
    """The latents' shape (N, c, h, w) of a clip of this size; reads the VAE's config only."""
    config = _config(vae_folder(model))
    downscale = 2 ** (len(config["block_out_channels"]) - 1)
    return num_frames, config["latent_channels"], height // downscale, width // downscale


def encoder_digest(model: str | Path) -> str:
    """A digest of what decides the latents: the encoder's weights and the scaling factor.

    Reads the file only, so that a run with nothing to do loads no model. The decoder is left out:
    fine-tuning it leaves latents as they are.
    """
    import torch
    from safetensors import safe_open

    folder = vae_folder(model)
    digest = blake2b(str(_config(folder).get("scaling_factor")).encode(), digest_size=16)
    with safe_open(folder / _WEIGHTS, framework="pt") as weights:
        for name in sorted(key for key in weights.keys() if key.startswith(_ENCODER_KEYS)):  # noqa: SIM118
            tensor = weights.get_slice(name)
            digest.update(f"{name}{tensor.get_dtype()}{tensor.get_shape()}".encode())
            digest.update(weights.get_tensor(name).reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _config(folder: Path) -> dict:
    try:
        return json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise RequestError(f"model: {folder / 'config.json'} is not JSON: {error}") from error
