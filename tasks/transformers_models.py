"""The one way to load a network of transformers and its processor: safetensors only, no code of the model's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig

from tasks.errors import RequestError
from vidrd_model.image_models import split_revision


def load_network(
    field: str,
    model: str | Path,
    processor_class: Any,
    network_class: Any,
    dtype: torch.dtype | str = torch.float32,
    kind: str | None = None,
) -> tuple[Any, Any]:
    """Gives the processor and the network of a folder or hub id (`id@revision` pins it), by transformers' classes.

    `kind` is the model_type that it must be of. RequestError, naming the field and the model, when it is another, is
    not there, cannot be loaded or lacks weights; ImportError when it needs a package that is missing.
    """
    name, revision = split_revision(model)
    if Path(name).is_absolute() and not Path(name).is_dir():
        raise RequestError(f"{field}: {model} is not a folder")
    try:
        if kind is not None:
            found = AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=False).model_type
            if found != kind:
                raise RequestError(f"{field}: {model} is a model of the kind {found}, not {kind}")
        processor = processor_class.from_pretrained(name, revision=revision, trust_remote_code=False)
        network, info = network_class.from_pretrained(
            name,
            revision=revision,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=dtype,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RequestError(f"{field}: {model} cannot be loaded: {reason}") from error
    if info["missing_keys"]:
        raise RequestError(f"{field}: {model} lacks weights: {sorted(info['missing_keys'])[:3]}")
    return processor, network
