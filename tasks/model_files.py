"""Files of models: where they lie, and the digests that identify what was made with them.

Files are read and no model is loaded, so that a build with nothing to do costs no more than that.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Any

from safetensors import safe_open

from tasks.errors import RequestError

_VAE_CONFIG, _VAE_WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
_VAE_ENCODER_KEYS = ("encoder.", "quant_conv.")
_IN = "+"
_KNOWN_TO_NUMPY = ("F64", "F32", "F16")
_CLIP_CONFIG, _CLIP_WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
_TEXT_CONFIG, _TEXT_WEIGHTS = "text_encoder/config.json", "text_encoder/model.safetensors"
_TEXT_CLASS = "CLIPTextModel"


def files_digest(files: Iterable[Path]) -> str:
    """blake2b-128 of the files' bytes, one after the other, as hexadecimal digits."""
    digest = blake2b(digest_size=16)
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def folder_digest(folder: Path) -> str:
    """`files_digest` of all files below a folder, in the order of their paths."""
    return files_digest(sorted(path for path in folder.rglob("*") if path.is_file()))


def hub_folder(field: str, name: str, patterns: list[str]) -> Path:
    """Gives the cached folder of a hub id (`id@revision` pins it) with the files of these patterns.

    Raises RequestError, naming the field of the request, when the hub has no such model.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    from vidrd_model.image_models import split_revision

    repository, revision = split_revision(name)
    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=patterns))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise RequestError(f"{field}: {name} is neither a folder nor a model on the hub: {reason}") from error


def vae_folder(model: str | Path) -> Path:
    """Gives the VAE's folder of a model folder or of a model on the hub; RequestError when there is none."""
    if Path(model).is_dir():
        folder = Path(model) / "vae"
    elif Path(model).is_absolute():
        raise RequestError(f"model: {model} is not a folder")
    else:
        folder = hub_folder("model", str(model), [f"vae/{_VAE_CONFIG}", f"vae/{_VAE_WEIGHTS}"]) / "vae"
    for name in (_VAE_CONFIG, _VAE_WEIGHTS):
        if not (folder / name).is_file():
            raise RequestError(f"model: {model} is not a model with a VAE (no vae/{name} in it)")
    return folder


def latent_shape(model: str | Path, num_frames: int, height: int, width: int) -> tuple[int, int, int, int]:
    """Gives the latents' shape (N, c, h, w) of a clip of this size; reads the VAE's config only."""
    config = vae_config(vae_folder(model))
    downscale = 2 ** (len(config["block_out_channels"]) - 1)
    return num_frames, config["latent_channels"], height // downscale, width // downscale


def encoder_digest(model: str | Path, precision: str = "float32") -> str:
    """Gives a digest of what decides the latents: the encoder's weights, the scaling factor, and a lower precision.

    Reads the file only, so that a run with nothing to do loads no model. The decoder is left out:
    fine-tuning it leaves latents as they are.
    """
    folder = vae_folder(model)
    digest = blake2b(str(vae_config(folder).get("scaling_factor")).encode(), digest_size=16)
    with safe_open(folder / _VAE_WEIGHTS, framework="np") as weights:
        for name in sorted(key for key in weights.keys() if key.startswith(_VAE_ENCODER_KEYS)):  # noqa: SIM118
            tensor = weights.get_slice(name)
            digest.update(f"{name}{tensor.get_dtype()}{tensor.get_shape()}".encode())
            if tensor.get_dtype() in _KNOWN_TO_NUMPY:
                digest.update(weights.get_tensor(name).tobytes())
            else:
                digest.update(_bytes_by_torch(folder / _VAE_WEIGHTS, name))
    return digest.hexdigest() + ("" if precision == "float32" else f"{_IN}{precision}")


def vae_of(encoder: str) -> str:
    """Gives the part of an encoder's digest that names the VAE: a model understands its latents in any precision."""
    return encoder.split(_IN, 1)[0]


def _bytes_by_torch(path: Path, name: str) -> bytes:
    import torch  # it takes a second, and only numbers that NumPy does not know need it

    with safe_open(path, framework="pt") as weights:
        return weights.get_tensor(name).reshape(-1).view(torch.uint8).numpy().tobytes()


def vae_config(folder: Path) -> dict[str, Any]:
    """Gives the config of a VAE's folder; RequestError when it is not JSON."""
    try:
        return json.loads((folder / _VAE_CONFIG).read_text(encoding="utf-8"))
    except ValueError as error:
        raise RequestError(f"model: {folder / _VAE_CONFIG} is not JSON: {error}") from error


def scorer_files(clip_model: str | Path) -> list[Path]:
    """Gives the files of a local open_clip folder, none for a model by name; RequestError for any other folder."""
    folder = Path(clip_model)
    if not folder.is_dir():
        if folder.is_absolute():
            raise RequestError(f"clip: {folder} is not a folder with an open_clip model")
        return []
    files = [folder / _CLIP_CONFIG, folder / _CLIP_WEIGHTS]
    for path in files:
        if not path.is_file():
            raise RequestError(f"clip: {folder} is not an open_clip model (no {path.name} in it)")
    return files


def scorer_digest(clip_model: str | Path) -> str:
    """Tells what identifies the CLIP model of a score: a digest of a folder's files, or the model's name.

    Reads files only, so that a run with nothing to do loads no model.
    """
    files = scorer_files(clip_model)
    return files_digest(files) if files else str(clip_model)


def aesthetic_digest(path: str | Path) -> str:
    """Tells what identifies the head of a score: a digest of its file; RequestError when there is none."""
    if not Path(path).is_file():
        raise RequestError(f"aesthetic: {path} is not a file")
    return files_digest([Path(path)])


def text_encoder_digest(model: str | Path) -> str:
    """Tells what identifies the model of text states: a digest of the encoder's weights and config and the tokenizer.

    Reads files only, so that a run with nothing to do loads no model.
    """
    folder = text_encoder_folder(model)
    tokenizer = sorted(path for path in (folder / "tokenizer").iterdir() if path.is_file())
    return files_digest([folder / _TEXT_CONFIG, folder / _TEXT_WEIGHTS, *tokenizer])


def text_encoder_folder(model: str | Path) -> Path:
    """Gives the folder with the two parts; RequestError when they are missing or of another kind."""
    folder = Path(model)
    if not folder.is_dir():
        if folder.is_absolute():
            raise RequestError(f"model: {model} is not a folder")
        folder = hub_folder("model", str(model), [_TEXT_CONFIG, _TEXT_WEIGHTS, "tokenizer/*"])
    for name in (_TEXT_CONFIG, _TEXT_WEIGHTS):
        if not (folder / name).is_file():
            raise RequestError(f"model: {model} is not a model with a text encoder (no {name} in it)")
    if not (folder / "tokenizer").is_dir():
        raise RequestError(f"model: {model} is not a model with a text encoder (no tokenizer in it)")
    try:
        classes = json.loads((folder / _TEXT_CONFIG).read_text(encoding="utf-8"))["architectures"]
    except (ValueError, KeyError, TypeError) as error:
        raise RequestError(f"model: {folder / _TEXT_CONFIG} is no text encoder's config") from error
    if classes != [_TEXT_CLASS]:
        raise RequestError(f"model: {model} has the text encoder {classes}, not a {_TEXT_CLASS}")
    return folder
