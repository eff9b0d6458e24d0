"""How a model's videos are sampled: as asked for, else in a hurry, else as saved, else the profile's, else default.

Where no profile is the model's, what it has not saved is as published, of the model's own size.
What a training saves lies in the model's `model_index.json`, so that `VidRDPipeline` knows it too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from storage.local.json_files import write_json
from tasks.errors import RequestError
from tasks.generation.settings import FastSettings, SamplingSettings

Source = Literal["option", "fast", "model", "profile", "published", "default"]

_INDEX = "model_index.json"
_OF_THE_MODEL = (
    *("num_frames", "fps", "width", "height", "num_inference_steps", "guidance_scale", "negative_prompt"),
    *("guidance_start", "guidance_stop"),
    *("prompt_frames", "alpha", "beta", "eta", "noise_alpha"),
)
"""What is saved with a model, beside `seam`, which is a setting of the pipeline itself."""


@dataclass(frozen=True)
class ResolvedSampling:
    """The settings, and for each of them where it comes from."""

    settings: SamplingSettings
    sources: dict[str, Source]

    def published(self) -> list[str]:
        """The names of those that nobody has said, neither who asks nor the model nor a profile."""
        return [name for name, source in self.sources.items() if source == "published"]

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Plain JSON: {name: {value, from}}."""
        values = plain_settings(self.settings)
        return {name: {"value": value, "from": self.sources[name]} for name, value in values.items()}


def resolve_sampling(
    asked: SamplingSettings | None,
    model_dir: Path,
    profile: SamplingSettings | None,
    fast: FastSettings | None = None,
) -> ResolvedSampling:
    """The settings of a model's videos; `profile` is None where none is known to be the model's.

    `fast` are those of a hurry, where there is one: before what the model has saved, after what was asked for.

    RequestError, naming the file, when what it has saved cannot be used.
    """
    saved = saved_sampling(model_dir)
    given = {} if asked is None else asked.model_dump(include=asked.model_fields_set)
    usual = SamplingSettings()
    in_order: tuple[tuple[Source, dict[str, Any]], ...] = (
        ("option", {name: value for name, value in given.items() if value is not None}),
        ("fast", {} if fast is None else fast.changes()),
        ("model", saved),
        ("profile", {} if profile is None else profile.model_dump(include=profile.model_fields_set)),
        ("published", {} if profile is not None else usual.model_dump(include=set(_OF_THE_MODEL))),
        ("default", usual.model_dump()),
    )
    values: dict[str, Any] = {}
    sources: dict[str, Source] = {}
    for name in SamplingSettings.model_fields:
        sources[name], of_source = next((s, of) for s, of in in_order if name in of)
        values[name] = of_source[name]
    try:
        return ResolvedSampling(SamplingSettings.model_validate(values), sources)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False)[0]
        reason = problem["msg"].removeprefix("Value error, ")
        raise RequestError(f"sampling: {reason} ({_origins(values, sources)})") from error


def saved_sampling(model_dir: Path) -> dict[str, Any]:
    """What a model folder says of how it is sampled, {} for one that says nothing; RequestError when it is damaged."""
    path = model_dir / _INDEX
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        saved = dict(index.get("sampling") or {})
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise RequestError(f"model: {path} cannot be read: {error}") from error
    if not saved:
        return {}
    # Every pipeline saves `keep` when nobody has chosen anything, so a `keep` in a folder is no wish.
    if index.get("seam", "keep") != "keep":
        saved["seam"] = index["seam"]
    try:
        kept = SamplingSettings.model_validate(saved)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(map(str, problem["loc"])) or "settings"
        raise RequestError(f"model: {path}: sampling: {field}: {problem['msg']}") from error
    return kept.model_dump(include=set(saved))


def save_sampling(model_dir: Path, sampling: SamplingSettings, size: tuple[int, int]) -> None:
    """Writes into a model folder how it is sampled; `size` is (width, height) where the settings name none."""
    path = model_dir / _INDEX
    index = json.loads(path.read_text(encoding="utf-8"))
    values = plain_settings(sampling, _OF_THE_MODEL)
    width, height = sampling.width or size[0], sampling.height or size[1]
    index["sampling"] = values | {"width": width, "height": height}
    if (
        "seam" in sampling.model_fields_set
    ):  # the default is that of commands, a pipeline's own is every frame
        index["seam"] = sampling.seam
    write_json(path, index)


def plain_settings(sampling: SamplingSettings, names: Iterable[str] | None = None) -> dict[str, Any]:
    """The settings, or some of them, as JSON has them: it knows nothing of infinity, which becomes a text."""
    chosen = sampling.model_dump(include=None if names is None else set(names))
    return {
        name: "inf" if isinstance(value, float) and math.isinf(value) else value
        for name, value in chosen.items()
    }


def _origins(values: dict[str, Any], sources: dict[str, Source]) -> str:
    shown = ("num_frames", "prompt_frames")
    return ", ".join(f"{name} {values[name]} from {sources[name]}" for name in shown)
