"""Temporal layers as a file of their own: trained on one image model, put into another of the same shape.

The file is safetensors. Its tensors are the layers across frames, `unet.NAME` and, where the decoder's were trained,
`vae.NAME`; its header says what they need to be used: the frame embedding, the settings of the pipeline, and which
image model they were trained on, by the digest of its layers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from vidrd_model.errors import ModelError
from vidrd_model.temporal_layers import TEMPORAL_MARK

_log = logging.get_logger(__name__)

Tensors = dict[str, torch.Tensor]

_HEADER = "vidrd_temporal_layers"
_SHOWN = 3
_PIPELINE_SETTINGS = ("temporal_decoder", "seam", "full_prompt_noise", "noise_deviation", "sampling")


@dataclass(frozen=True)
class TemporalFacts:
    """What the header of a file of temporal layers says.

    `base` names the image model that they were trained on, `base_digest` is `image_digest` of its UNet; `decoder` says
    whether layers of the VAE's decoder are in the file, `decode_window` how many frames these were trained on;
    `pipeline` are the settings of the pipeline that they were trained for.
    """

    base: str
    base_digest: str
    model: str
    frame_embedding: str
    decoder: bool
    prediction_type: str
    temp_conv: bool = True
    temp_attention: bool = True
    decode_window: int | None = None
    pipeline: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TemporalLayers:
    """The layers of a file, by their names in the UNet and in the VAE."""

    path: Path
    facts: TemporalFacts
    unet: Tensors
    vae: Tensors

    @property
    def unet_settings(self) -> dict[str, Any]:
        """What the config of a UNet has to say for these layers."""
        names = ("frame_embedding", "temp_conv", "temp_attention")
        return {name: getattr(self.facts, name) for name in names}

    def put_into(self, unet: Any, vae: Any, scheduler: Any, source: str) -> dict[str, Any]:
        """Puts the layers into a video model made of the image model `source`; returns settings of the pipeline.

        Raises ModelError, naming layers that one of them lacks or that have other shapes.
        """
        _take(unet, self.unet, self.path, f"the UNet of {source}")
        if self.facts.decoder:
            _take(vae, self.vae, self.path, f"the VAE of {source}")
            vae.register_to_config(decode_window=self.facts.decode_window)
        predicted = scheduler.config.prediction_type
        if predicted != self.facts.prediction_type:
            _log.warning(
                f"{self.path}: trained where the model predicts {self.facts.prediction_type}, and {source} predicts "
                f"{predicted}: they may not go together"
            )
        return dict(self.facts.pipeline)


def image_digest(model: torch.nn.Module) -> str:
    """A digest of a UNet's image layers in float32: of a video model that of the image model it was made of."""
    digest = blake2b(digest_size=16)
    for name, value in sorted(model.state_dict().items()):
        if TEMPORAL_MARK not in name:
            digest.update(name.encode())
            digest.update(value.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def write_temporal_layers(pipe: Any, base: Any, out: Path, model_name: str, base_name: str) -> TemporalFacts:
    """Writes the temporal layers of a pipeline, trained on the image layers of the pipeline `base`, to `out`.

    Raises ModelError, and writes nothing, where an image layer is not the base's: layers trained beside changed
    attention fit to that alone. Halves are stored where nothing is lost by it.
    """
    _check_untouched(pipe.unet, base.unet, "UNet", model_name, base_name)
    decoder = _is_trained(pipe.vae)
    if decoder:
        _check_untouched(pipe.vae, base.vae, "VAE", model_name, base_name)
    facts = TemporalFacts(
        base=base_name,
        base_digest=image_digest(base.unet),
        model=model_name,
        frame_embedding=pipe.unet.config.frame_embedding,
        decoder=decoder,
        prediction_type=pipe.scheduler.config.prediction_type,
        temp_conv=pipe.unet.config.temp_conv,
        temp_attention=pipe.unet.config.temp_attention,
        decode_window=pipe.vae.config.decode_window if decoder else None,
        pipeline={name: pipe.config[name] for name in _PIPELINE_SETTINGS},
    )
    parts = [("unet", pipe.unet)] + ([("vae", pipe.vae)] if decoder else [])
    tensors = {
        f"{part}.{name}": _stored(value)
        for part, model in parts
        for name, value in model.state_dict().items()
        if TEMPORAL_MARK in name
    }
    if not tensors:
        raise ModelError(f"{model_name}: has no temporal layers")
    unfinished = out.with_name(f".{out.name}.{os.getpid()}.unfinished")
    try:
        save_file(tensors, unfinished, metadata={"format": "pt", _HEADER: json.dumps(asdict(facts))})
        unfinished.rename(out)
    except OSError as error:
        raise ModelError(f"{out}: cannot be written ({error.strerror or error})") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return facts


def read_temporal_layers(path: str | Path) -> TemporalLayers:
    """Reads a file that `write_temporal_layers` wrote; ModelError, naming it, for any other."""
    path = Path(path).expanduser()
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get(_HEADER)
        if header is None:
            raise ModelError(
                f"{path}: holds no temporal layers; vidrd weights export --temporal writes such a file"
            )
        facts = TemporalFacts(**json.loads(header))
        tensors = load_file(path)
    except FileNotFoundError as error:
        raise ModelError(f"{path}: there is no such file") from error
    except (OSError, SafetensorError, ValueError, TypeError) as error:
        raise ModelError(f"{path}: no file of temporal layers ({str(error).splitlines()[0]})") from error
    parts: dict[str, Tensors] = {"unet": {}, "vae": {}}
    for name, value in tensors.items():
        part, _, own = name.partition(".")
        if part not in parts or TEMPORAL_MARK not in own:
            raise ModelError(f"{path}: {name} is no temporal layer")
        parts[part][own] = value
    return TemporalLayers(path, facts, parts["unet"], parts["vae"])


def _take(model: torch.nn.Module, layers: Mapping[str, torch.Tensor], path: Path, source: str) -> None:
    """Puts layers into a model; ModelError, naming layers that one of them lacks or that have other shapes."""
    own = {name: value for name, value in model.state_dict().items() if TEMPORAL_MARK in name}
    wrong = [f"{name} is not in the file" for name in sorted(own.keys() - layers.keys())]
    wrong += [f"{name} is not in the model" for name in sorted(layers.keys() - own.keys())]
    wrong += [
        f"{name} is {tuple(layers[name].shape)} in the file and {tuple(own[name].shape)} in the model"
        for name in sorted(own.keys() & layers.keys())
        if layers[name].shape != own[name].shape
    ]
    if wrong:
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise ModelError(f"{path}: does not fit {source}: {'; '.join(wrong[:_SHOWN])}{more}")
    model.load_state_dict(dict(layers), strict=False)


def _check_untouched(video: Any, base: Any, part: str, model_name: str, base_name: str) -> None:
    """ModelError where an image layer is not that of the base, but for the rounding of half precision."""
    theirs = base.state_dict()
    own = {name: value for name, value in video.state_dict().items() if TEMPORAL_MARK not in name}
    changed = [name for name, value in own.items() if name not in theirs or not _is_same(value, theirs[name])]
    if changed:
        raise ModelError(
            f"{model_name}: {len(changed)} of the {len(own)} image tensors of its {part} are not those of {base_name} "
            f"({changed[0]} the first), as after a training of paper, all or lora; the layers of one trained as "
            "temporal alone fit other image models"
        )


def _is_same(value: torch.Tensor, base: torch.Tensor) -> bool:
    if value.shape != base.shape:
        return False
    return any(
        torch.equal(value.float(), base.to(dtype).float())
        for dtype in (torch.float32, torch.float16, torch.bfloat16)
    )


def _is_trained(vae: Any) -> bool:
    """Whether a decoder has temporal layers that do anything: fresh ones end in zeros."""
    return vae is not None and any(
        bool(value.any())
        for name, value in vae.state_dict().items()
        if TEMPORAL_MARK in name and _ends(vae, name)
    )


def _ends(vae: Any, name: str) -> bool:
    """Whether a parameter is of the last convolution of its Temp-Conv."""
    layer, _, rest = name.rpartition(".convs.")
    return int(rest.partition(".")[0]) == len(vae.get_submodule(layer).convs) - 1


def _stored(value: torch.Tensor) -> torch.Tensor:
    value = value.detach().cpu().float().contiguous()
    half = value.half()
    return half if torch.equal(half.float(), value) else value
