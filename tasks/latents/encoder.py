"""Frames to scaled latents: the posterior mean of the VAE times its scaling factor, in float16."""

import json
import struct
from hashlib import blake2b
from pathlib import Path

import numpy as np

from tasks.errors import ItemError, RequestError
from tasks.model_files import hub_folder

_WEIGHTS = "diffusion_pytorch_model.safetensors"
_ENCODER_KEYS = ("encoder.", "quant_conv.")


class LatentEncoder:
    """The VAE of a model folder, loaded once, that encodes clips one at a time.

    One clip is one batch of N frames whatever else is in flight, so latents do not depend on the
    order of the work.
    """

    def __init__(self, model: str | Path) -> None:
        import torch

        from vidrd_model import TemporalVAE

        folder = vae_folder(model)
        is_image_vae = _config(folder).get("_class_name") == "AutoencoderKL"
        load = TemporalVAE.from_image_vae if is_image_vae else TemporalVAE.from_pretrained
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._vae = load(folder).to(self._device, torch.float32).eval()

    def encode(self, frames_nhwc: np.ndarray) -> np.ndarray:
        """uint8 RGB (n, h, w, 3) to float16 (n, 4, h/8, w/8); ItemError when the result is not finite."""
        import torch

        pixels_nchw = torch.from_numpy(np.ascontiguousarray(frames_nhwc)).permute(0, 3, 1, 2)
        with torch.inference_mode():
            pixels_nchw = pixels_nchw.to(self._device).float() / 127.5 - 1
            mean_nchw = self._vae.encode(pixels_nchw).latent_dist.mean
            latents_nchw = (mean_nchw * self._vae.config.scaling_factor).half().cpu().numpy()
        if not np.isfinite(latents_nchw).all():
            raise ItemError("the latents are not finite in float16", stage="encode")
        return latents_nchw


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
    folder = vae_folder(model)
    digest = blake2b(str(_config(folder).get("scaling_factor")).encode(), digest_size=16)
    with (folder / _WEIGHTS).open("rb") as file:
        (header_bytes,) = struct.unpack("<Q", file.read(8))  # the safetensors layout: size, JSON, data
        header = json.loads(file.read(header_bytes))
        for name in sorted(key for key in header if key.startswith(_ENCODER_KEYS)):
            begin, end = header[name]["data_offsets"]
            file.seek(8 + header_bytes + begin)
            digest.update(f"{name}{header[name]['dtype']}{header[name]['shape']}".encode())
            digest.update(file.read(end - begin))
    return digest.hexdigest()


def _config(folder: Path) -> dict:
    try:
        return json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise RequestError(f"model: {folder / 'config.json'} is not JSON: {error}") from error
