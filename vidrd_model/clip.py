"""ClipModel: any open_clip model as a judge of frames and captions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from transformers import AutoConfig

from vidrd_model.errors import ModelError

_CONFIG_FILE = "open_clip_config.json"
MERGES_FILE = "bpe_merges.txt.gz"
"""A local folder may bring its own byte-pair merges for open_clip's tokenizer under this name."""


class ClipModel:
    """An open_clip model with its tokenizer; features have unit norm, so their dot product is the cosine."""

    def __init__(
        self, model: torch.nn.Module, tokenizer: Any, image_size: int, mean: Sequence, std: Sequence
    ):
        self.model: Any = model.eval()
        self.tokenizer = tokenizer
        self.image_size = image_size
        self._mean = torch.tensor(mean).view(1, 3, 1, 1)
        self._std = torch.tensor(std).view(1, 3, 1, 1)

    @classmethod
    def from_folder(cls, source: str | Path, device: str = "cpu") -> ClipModel:
        """Loads a local open_clip folder, `hf-hub:org/name`, or `architecture/pretrained-tag` by name.

        Raises ModelError, naming the source, for a folder without `open_clip_config.json` and for unknown names.
        """
        name, pretrained = _name(source)
        try:
            _check_text_tower(name)
            model = open_clip.create_model(name, pretrained=pretrained, device=device, weights_only=True)
        except Exception as error:  # a config or weights of others make open_clip raise nearly anything
            raise ModelError(
                f"{source}: no open_clip model could be loaded ({_first_line(error)})"
            ) from error
        tokenizer = clip_tokenizer(source)
        size = model.visual.image_size
        size = size[0] if isinstance(size, (tuple, list)) else size
        return cls(model, tokenizer, size, model.visual.image_mean, model.visual.image_std)

    @property
    def digest(self) -> str:
        """A hash of all weights: scores of two models are not comparable."""
        digest = hashlib.blake2b(digest_size=16)
        for name, value in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    @torch.no_grad()
    def image_features(self, frames_nhwc: np.ndarray) -> np.ndarray:
        """Features of uint8 RGB frames (n, h, w, 3): float32 (n, d), unit norm."""
        return self.frame_features(torch.from_numpy(np.ascontiguousarray(frames_nhwc))).cpu().numpy()

    @torch.no_grad()
    def frame_features(self, frames_nhwc: torch.Tensor) -> torch.Tensor:
        """The same of a tensor, on the model's device, where the frames are prepared too: bytes travel, not floats."""
        device = next(self.model.parameters()).device
        pixels = self.preprocess(frames_nhwc.to(device, non_blocking=True))
        features_nd: torch.Tensor = self.model.encode_image(pixels, normalize=True).float()
        return features_nd

    @torch.no_grad()
    def text_features(self, texts: Sequence[str]) -> np.ndarray:
        """Features of sentences: float32 (k, d), unit norm."""
        device = next(self.model.parameters()).device
        tokens = self.tokenizer(list(texts)).to(device)
        return self.model.encode_text(tokens, normalize=True).float().cpu().numpy()

    def preprocess(self, frames_nhwc: torch.Tensor) -> torch.Tensor:
        """uint8 (n, h, w, 3) to the model's input (n, 3, size, size): shorter side to size, centre crop, normalise."""
        pixels = frames_nhwc.permute(0, 3, 1, 2).float() / 255
        height, width = pixels.shape[-2:]
        if (height, width) != (self.image_size, self.image_size):
            scale = self.image_size / min(height, width)
            size = [max(self.image_size, round(height * scale)), max(self.image_size, round(width * scale))]
            pixels = F.interpolate(pixels, size=size, mode="bicubic", antialias=True).clamp(0, 1)
            top, left = (size[0] - self.image_size) // 2, (size[1] - self.image_size) // 2
            pixels = pixels[:, :, top : top + self.image_size, left : left + self.image_size]
        return (pixels - self._mean.to(pixels.device)) / self._std.to(pixels.device)


def clip_tokenizer(source: str | Path) -> Any:
    """The tokenizer of an open_clip model, without the model; sources and errors as for `ClipModel.from_folder`."""
    name, _ = _name(source)
    merges = Path(source) / MERGES_FILE
    try:
        if not merges.is_file():
            # A config may even say that the tokenizer's own code is to be trusted.
            settings = {"trust_remote_code": False} if _text_config(name).get("hf_tokenizer_name") else {}
            return open_clip.get_tokenizer(name, **settings)
        config = json.loads((Path(source) / _CONFIG_FILE).read_text(encoding="utf-8"))
        tokens = config["model_cfg"]["text_cfg"]["context_length"]
        return open_clip.SimpleTokenizer(str(merges), context_length=tokens)
    except Exception as error:  # as above
        raise ModelError(f"{source}: no tokenizer could be loaded ({_first_line(error)})") from error


def _name(source: str | Path) -> tuple[str, str | None]:
    """The name of the architecture or folder as open_clip has it, and the tag of the weights."""
    folder, name = Path(source), str(source)
    if folder.is_dir():
        if not (folder / _CONFIG_FILE).is_file():
            raise ModelError(f"{folder}: no open_clip model ({_CONFIG_FILE} is missing)")
        return f"local-dir:{folder}", None
    if "/" in name and ":" not in name:
        architecture, pretrained = name.split("/", 1)
        return architecture, pretrained
    return name, None


def _check_text_tower(name: str) -> None:
    """ValueError for a text tower of transformers that has code of its own; without this, its user would be asked."""
    tower = _text_config(name).get("hf_model_name")
    if tower:
        AutoConfig.from_pretrained(tower, trust_remote_code=False)


def _text_config(name: str) -> dict[str, Any]:
    return (open_clip.get_model_config(name) or {}).get("text_cfg", {})


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
