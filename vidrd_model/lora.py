"""LoRA layers of Stable Diffusion's image models in a video model, by peft and diffusers' own loaders.

What a file calls its layers is told by `lora_names`; here its tensors become peft's, checked against the model before
anything of it changes.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers.hooks.group_offloading import _get_top_level_group_offload_hook
from diffusers.loaders import PeftAdapterMixin, StableDiffusionLoraLoaderMixin
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY, _fetch_state_dict
from diffusers.utils import USE_PEFT_BACKEND
from safetensors import safe_open
from torch import nn

from vidrd_model.errors import ModelError
from vidrd_model.lora_names import read_key, spelled_layers
from vidrd_model.weights_file import read_weights

if USE_PEFT_BACKEND:
    from peft.tuners.tuners_utils import BaseTunerLayer

Tensors = dict[str, torch.Tensor]
Weight = float | Mapping[str, Any]

_OTHER_KINDS = {
    "hada_": "LoHa",
    "lokr_": "LoKr",
    "oft_": "OFT",
    "dora_scale": "DoRA",
    "lora_magnitude_vector": "DoRA",
    "lora_mid": "LoCon with a middle convolution",
    "lora_te2_": "SDXL's second text encoder",
}
_NO_PEFT = "LoRA layers need peft: pip install 'vidrd[lora]'"
_STAGES = {"down": "down_blocks", "mid": "mid_block", "up": "up_blocks"}


class UNetLoraMixin(PeftAdapterMixin):
    """A UNet that takes adapters of peft, weighted as a whole or by its blocks."""

    def set_adapters(
        self, adapter_names: str | Sequence[str], weights: Weight | Sequence[Weight | None] | None = None
    ) -> None:
        """Makes adapters active, each with its weight.

        A weight may be a dict by place as in diffusers: `{"down": 0.5, "mid": 0, "up": {"block_1": [0, 1]}}`, a
        number for each layer of a block; what is not named has 1. Raises ModelError for a place that there is not.
        """
        names = [adapter_names] if isinstance(adapter_names, str) else list(adapter_names)
        given = list(weights) if isinstance(weights, Sequence) else [weights] * len(names)
        super().set_adapters(
            names, [self._by_layer(one) if isinstance(one, Mapping) else one for one in given]
        )

    def _by_layer(self, weight: Mapping[str, Any]) -> dict[str, float]:
        unknown = [place for place in weight if place not in _STAGES]
        if unknown:
            raise ModelError(f"adapter weights: {unknown[0]!r} is none of {', '.join(_STAGES)}")
        layers = {name: 1.0 for name, _ in _adapted(self)}
        stages = {stage: place for place, stage in _STAGES.items()}
        for name in layers:
            stage, *parts = name.split(".")
            if stages.get(stage) in weight:
                layers[name] = _weight_at(weight[stages[stage]], stages[stage], parts)
        return layers


class LoraMixin(StableDiffusionLoraLoaderMixin):
    """A pipeline that loads LoRA files of Stable Diffusion as diffusers' does, and weights, fuses and unloads them."""

    def load_lora_weights(
        self,
        pretrained_model_name_or_path_or_dict: str | Path | Mapping[str, torch.Tensor],
        adapter_name: str | None = None,
        hotswap: bool = False,
        **settings: Any,
    ) -> None:
        """Puts the LoRA layers of a file, folder, hub id or dict beside those of the UNet and the text encoder.

        `settings` are diffusers': `weight_name`, `subfolder`, `revision`, `token`, ... Files may be in the layout of
        diffusers, peft, kohya's scripts or ComfyUI. Raises ModelError, and changes nothing, for a file that cannot be
        read, that holds more than LoRA layers, or whose layers this model does not have or has in other shapes; and for
        a model whose weights are offloaded to files.
        """
        source = pretrained_model_name_or_path_or_dict
        name = "the given tensors" if isinstance(source, Mapping) else str(source)
        if not USE_PEFT_BACKEND:
            raise ModelError(f"{name}: {_NO_PEFT}")
        self._check_weights_are_here(name)
        low_memory = settings.pop("low_cpu_mem_usage", True)
        tensors, metadata = _read(source, settings)
        weights = peft_weights(tensors, self.unet, self.text_encoder, name, metadata)
        loaders = {"unet": self.load_lora_into_unet, "text_encoder": self.load_lora_into_text_encoder}
        try:
            with warnings.catch_warnings():
                # peft warns of a second adapter, which is no accident here.
                warnings.filterwarnings("ignore", message="Already found a `peft_config`")
                for component, load in loaders.items():
                    own = {key: value for key, value in weights.items() if key.startswith(f"{component}.")}
                    if own:
                        load(
                            own,
                            network_alphas=None,
                            **{component: getattr(self, component)},
                            adapter_name=adapter_name,
                            _pipeline=self,
                            low_cpu_mem_usage=low_memory,
                            hotswap=hotswap,
                        )
        except ValueError as error:
            raise ModelError(f"{name}: {str(error).splitlines()[0]}") from error

    def save_pretrained(self, save_directory: str | Path, *args: Any, **settings: Any) -> None:
        """Writes the model as diffusers does; ModelError while LoRA layers are loaded, whose names no folder has."""
        if any(True for model in self._lora_models() for _ in _adapted(model)):
            raise ModelError(
                f"{save_directory}: LoRA layers are loaded; unload_lora_weights() first, after fuse_lora() to keep them"
            )
        super().save_pretrained(save_directory, *args, **settings)

    def unload_lora_weights(self) -> None:
        """Takes all LoRA layers out again, as diffusers does; ModelError where `load_lora_weights` is refused."""
        self._check_weights_are_here("unload_lora_weights")
        super().unload_lora_weights()

    @contextmanager
    def scaled_lora(self, scale: float) -> Iterator[None]:
        """The active LoRA layers count `scale` times within, and as before afterwards."""
        layers = (
            [layer for model in self._lora_models() for _, layer in _adapted(model)] if scale != 1 else []
        )
        before = [dict(layer.scaling) for layer in layers]
        for layer in layers:
            layer.scale_layer(scale)
        within = [dict(layer.scaling) for layer in layers]
        try:
            yield
        finally:
            for layer, old, scaled in zip(layers, before, within, strict=True):
                for name, value in scaled.items():
                    if (
                        layer.scaling.get(name) == value
                    ):  # else somebody has given it another weight meanwhile
                        layer.scaling[name] = old[name]

    def _check_weights_are_here(self, what: str) -> None:
        """ModelError where group offloading keeps weights in files: diffusers would write over these with nothing."""
        for model in self._lora_models():
            hook = _get_top_level_group_offload_hook(model)
            if hook is not None and hook.config.offload_to_disk_path is not None:
                raise ModelError(
                    f"{what}: LoRA layers cannot come or go while weights are offloaded to files; load them before "
                    "enable_group_offload"
                )

    def _lora_models(self) -> list[nn.Module]:
        models = [getattr(self, name, None) for name in self._lora_loadable_modules]
        return [model for model in models if isinstance(model, nn.Module)]


def peft_weights(
    tensors: Mapping[str, torch.Tensor],
    unet: nn.Module,
    text_encoder: nn.Module | None,
    source: str,
    metadata: Mapping[str, Any] | None = None,
) -> Tensors:
    """A file's tensors under the names of peft, `unet.LAYER.lora_A.weight`, in the dtype and device of their model.

    The ups are multiplied by alpha / rank, where the file has an alpha for the layer or, in `metadata`, for all. Raises
    ModelError, naming `source` and the first layer at fault.
    """
    models = {
        name: model for name, model in (("unet", unet), ("text_encoder", text_encoder)) if model is not None
    }
    places = {name: _place(model) for name, model in models.items()}  # slow to ask for
    weights: Tensors = {}
    for layer, parts in _by_layer(tensors, spelled_layers(unet, text_encoder), source).items():
        component, _, name = layer.partition(".")
        missing = {"down", "up"} - parts.keys()
        if missing:
            raise ModelError(f"{source}: {layer} has no lora {missing.pop()}")
        module = models[component].get_submodule(name)
        module = getattr(module, "base_layer", module)
        down, up = (_as_kernel(parts[part], module) for part in ("down", "up"))
        _check_shapes(down, up, module, f"{source}: {layer}")
        scale = _scale(parts.get("alpha"), metadata or {}, component, name, down.shape[0])
        up = up if scale == 1 else up.float() * scale
        weights[f"{layer}.lora_A.weight"] = down.to(*places[component])
        weights[f"{layer}.lora_B.weight"] = up.to(*places[component])
    return weights


def _place(model: Any) -> tuple[torch.device, torch.dtype]:
    """The device and dtype of a model; of one whose weights are away between its calls, where they are kept."""
    return torch.device("cpu") if model.device.type == "meta" else model.device, model.dtype


def _by_layer(
    tensors: Mapping[str, torch.Tensor], layers: Mapping[str, str], source: str
) -> dict[str, Tensors]:
    """The tensors by the model's layer, and what of its LoRA they are."""
    found: dict[str, Tensors] = {}
    unknown = []
    for key, value in tensors.items():
        for sign, kind in _OTHER_KINDS.items():
            if sign in key:
                raise ModelError(
                    f"{source}: {key} is of {kind}; only LoRA layers of Stable Diffusion 1 and 2 are read"
                )
        read = read_key(key)
        if read is None or read.layer not in layers:
            unknown.append(key)
            continue
        found.setdefault(layers[read.layer], {})[read.part] = value
    if unknown or not found:
        which = (
            f"{len(unknown)} of its {len(tensors)} tensors are of no layer that this model has"
            if unknown
            else "empty"
        )
        first = f", {sorted(unknown)[0]} the first" if unknown else ""
        raise ModelError(f"{source}: {which}{first}; it was made for another kind of model, or is no LoRA")
    return found


def _scale(
    alpha: torch.Tensor | None, metadata: Mapping[str, Any], component: str, layer: str, rank: int
) -> float:
    """What a LoRA counts: alpha / rank, alpha from its tensor or from what peft wrote of it, and 1 without any."""
    if alpha is not None:
        return alpha.float().item() / rank

    def said(name: str) -> Any:
        return metadata.get(f"{component}.{name}", metadata.get(name))

    value = said("lora_alpha")
    for pattern, own in (said("alpha_pattern") or {}).items():
        name = pattern.removeprefix("^")
        if layer == name or layer.endswith(f".{name}"):
            value = own
    if value is None:
        return 1.0
    return float(value) / (math.sqrt(rank) if said("use_rslora") else rank)


def _as_kernel(tensor: torch.Tensor, module: nn.Module) -> torch.Tensor:
    """A matrix as a kernel of one pixel where the layer is a convolution, and the other way round."""
    weight: Any = module.weight
    dims = weight.ndim
    if tensor.ndim < dims:
        return tensor.reshape(*tensor.shape, *[1] * (dims - tensor.ndim))
    return tensor.flatten(1) if tensor.ndim > dims and tensor.shape[2:].numel() == 1 else tensor


def _check_shapes(down: torch.Tensor, up: torch.Tensor, module: nn.Module, where: str) -> None:
    weight: Any = module.weight
    rank, wanted = down.shape[0], tuple(weight.shape)
    one_pixel = (1,) * (weight.ndim - 2)
    if tuple(down.shape[1:]) != wanted[1:] or tuple(up.shape) != (wanted[0], rank, *one_pixel):
        raise ModelError(
            f"{where} is {tuple(down.shape)} and {tuple(up.shape)} in the file, for a layer of another shape than this "
            f"model's {wanted}; it was made for another base model"
        )


def _read(
    source: str | Path | Mapping[str, torch.Tensor], settings: dict[str, Any]
) -> tuple[Mapping[str, torch.Tensor], dict[str, Any] | None]:
    """The tensors of a LoRA, and what peft knew of it when it was written."""
    if isinstance(source, Mapping):
        return source, None
    path = Path(source).expanduser()
    if path.is_file():
        tensors = read_weights(path)
        if not isinstance(tensors, dict) or not all(
            isinstance(one, torch.Tensor) for one in tensors.values()
        ):
            raise ModelError(f"{path}: holds no tensors by name")
        return tensors, _metadata(path) if path.suffix == ".safetensors" else None
    if path.suffix in (".safetensors", ".bin", ".pt", ".ckpt"):
        raise ModelError(f"{path}: there is no such file")
    names = (
        "weight_name",
        "local_files_only",
        "cache_dir",
        "force_download",
        "proxies",
        "token",
        "revision",
        "subfolder",
    )
    asked = {name: settings.get(name) for name in names}
    try:
        tensors, metadata = _fetch_state_dict(
            str(path) if path.exists() else str(source),
            use_safetensors=True,
            user_agent={"file_type": "lora", "framework": "pytorch"},
            allow_pickle=False,
            **asked,
        )
    except (
        Exception
    ) as error:  # those of a file and of the network, some of which the hub's library keeps to itself
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{source}: no LoRA file could be read ({reason})") from error
    return tensors, metadata


def _metadata(path: Path) -> dict[str, Any] | None:
    with safe_open(path, framework="pt") as file:
        text = (file.metadata() or {}).get(LORA_ADAPTER_METADATA_KEY)
    try:
        return None if text is None else json.loads(text)
    except ValueError as error:
        raise ModelError(f"{path}: what peft says of its layers cannot be read ({error})") from error


def _adapted(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """The layers of a model that have LoRA layers beside them, by name."""
    if USE_PEFT_BACKEND:
        for name, module in model.named_modules():
            if isinstance(module, BaseTunerLayer):
                yield name, module


def adapter_state(model: nn.Module) -> list[tuple[Any, ...]]:
    """What of a model's LoRA layers decides what they compute: which count, how much, and of which weights."""
    return [
        (
            name,
            list(layer.active_adapters),
            dict(layer.scaling),
            layer.disable_adapters,
            list(layer.merged_adapters),
            [id(part) for part in layer.lora_A.values()],
        )
        for name, layer in _adapted(model)
    ]


def _weight_at(weight: Any, place: str, parts: Sequence[str]) -> float:
    """The weight of a layer within a stage, whose name goes on with `parts`: block, kind, index."""
    if isinstance(weight, (int, float)):
        return float(weight)
    block, index = (0, int(parts[1])) if place == "mid" else (int(parts[0]), int(parts[2]))
    if isinstance(weight, Mapping):
        weight = weight.get(f"block_{block}", 1.0)
    if isinstance(weight, Sequence):
        if index >= len(weight):
            raise ModelError(
                f"adapter weights: {place}.block_{block} has a layer {index}, and {len(weight)} weights"
            )
        weight = weight[index]
    return float(weight)
