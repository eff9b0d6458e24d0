"""The keys of a profile as people write them, `section.key`, and the answer to one that is none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

_WORDS_OF_OTHERS = {
    "adam_weight_decay": "weight_decay",
    "checkpointing_steps": "checkpoint_every",
    "cfg": "guidance_scale",
    "cfg_scale": "guidance_scale",
    "dataloader_num_workers": "loader_workers",
    "frames": "num_frames",
    "framerate": "fps",
    "guidance": "guidance_scale",
    "learning_rate": "lr",
    "lr_warmup_steps": "warmup_steps",
    "max_train_steps": "steps",
    "mixed_precision": "precision",
    "num_train_steps": "steps",
    "pretrained_model_name_or_path": "model",
    "sampler": "scheduler",
    "train_batch_size": "batch_size",
    "validation_prompts": "sample_prompts",
    "validation_steps": "validate_every",
}
"""What diffusers' scripts, SimpleTuner and others call it -> our name: for answers alone, none of them is a key."""


def section_of(field: FieldInfo) -> type[BaseModel] | None:
    """Gives the class of a section, None for a field that holds a value."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def leaf_keys(schema: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yields every key that holds a value, such as `evaluation.gate.min_videos`, in the order of the classes."""
    for name, field in schema.model_fields.items():
        section = section_of(field)
        if section is None:
            yield f"{prefix}{name}", field
        else:
            yield from leaf_keys(section, f"{prefix}{name}.")


def flattened(values: dict[str, Any], schema: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields key and value of nested tables; what the schema does not know comes under the key that it has there."""
    for name, value in values.items():
        field = schema.model_fields.get(name)
        section = None if field is None else section_of(field)
        if section is not None and isinstance(value, dict):
            yield from flattened(value, section, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """Gives the nested tables of values by key."""
    tables: dict[str, Any] = {}
    for key, value in flat.items():
        *sections, name = key.split(".")
        table = tables
        for section in sections:
            table = table.setdefault(section, {})
        table[name] = value
    return tables


def why_no_key(schema: type[BaseModel], key: str) -> str | None:
    """Says in one line why a text is no key that holds a value: the near ones, and what is known there."""
    known = [name for name, _ in leaf_keys(schema)]
    if key in known:
        return None
    below = [name for name in known if name.startswith(f"{key}.")]
    if below:
        return f"{key} is a section; {_knows(key, below)}"
    near = _near(key, known)
    meant = f"; did you mean {' or '.join(near)}?" if near else ";"
    section = _longest_section(key, known)
    return f"unknown key {key!r}{meant} {_knows(section, known)}"


def _near(key: str, known: list[str]) -> list[str]:
    section, _, name = key.rpartition(".")
    ours = _WORDS_OF_OTHERS.get(name.lower().replace("-", "_"), name.replace("-", "_"))
    same = [other for other in known if other.rpartition(".")[2] == ours]
    in_section = [other for other in same if section and other.startswith(f"{section}.")]
    return in_section or same[:3] or get_close_matches(key, known, n=1, cutoff=0.7)


def _longest_section(key: str, known: Iterable[str]) -> str:
    """The section that a key stands in, as far as there is one; "" is the top."""
    section = key.rpartition(".")[0]
    while section and not any(other.startswith(f"{section}.") for other in known):
        section = section.rpartition(".")[0]
    return section


def _knows(section: str, known: Iterable[str]) -> str:
    prefix = f"{section}." if section else ""
    names = [name.removeprefix(prefix) for name in known if name.startswith(prefix)]
    here = dict.fromkeys(f"[{name.partition('.')[0]}]" if "." in name else name for name in names)
    where = f"[{section}] has" if section else "a profile has"
    return f"{where} {', '.join(here)}"
