"""The model card of a trained folder: where it comes from, in the form that model hubs read.

A README.md whose front matter is YAML (licence, tags, base model), then tables for people. Every value is taken
from what was trained: the folder's own configs, the dataset's tables, the settings and the results.
"""

from __future__ import annotations

import inspect
import json
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from storage.dataset.clip_dataset import ClipDataset
from storage.local.visible import visible
from tasks import markdown
from tasks.training.result import TrainingResult
from tasks.training.settings import DecoderSettings, Part, TemporalSettings
from vidrd_model import TemporalUNet, TemporalVAE, VidRDPipeline

CARD_FILE = "README.md"

# The names that hubs have for licences which people write otherwise; any other is given as `other`, by name.
_HUB_LICENCES = {
    "Apache-2.0": "apache-2.0",
    "MIT": "mit",
    "CC0-1.0": "cc0-1.0",
    "CC-BY-4.0": "cc-by-4.0",
    "CreativeML Open RAIL-M": "creativeml-openrail-m",
    "CreativeML Open RAIL++-M": "openrail++",
    "unknown": "unknown",
}
_TAGS = ["text-to-video", "video-generation", "vidrd", "diffusers"]


@dataclass(frozen=True)
class TrainedPart:
    """What a training did to one part."""

    settings: TemporalSettings | DecoderSettings
    result: TrainingResult


@dataclass(frozen=True)
class Lineage:
    """What a trained folder was made of and with.

    `base` is the profile's model, a folder or a hub id; `start` what the training began with: the same, or an
    earlier version of ours.
    """

    profile: str
    base: str
    base_licence: str
    start: str
    git_commit: str
    parts: Mapping[Part, TrainedPart]


def write_model_card(folder: Path, dataset: ClipDataset, lineage: Lineage) -> str:
    """Writes the card of a model folder that was trained on a dataset; returns it without its front matter."""
    sections = [
        _title(dataset, lineage),
        _model(lineage),
        _data(folder, dataset),
        *(_part(name, part) for name, part in lineage.parts.items()),
        _sampling(folder),
        _release_settings(folder),
        _usage(dataset),
    ]
    text = "\n".join(sections)
    ModelCard(
        f"---\n{card_metadata(lineage.base, lineage.base_licence, _TAGS).to_yaml()}\n---\n\n{text}"
    ).save(folder / CARD_FILE)
    return text


def clip_size(folder: Path, dataset: ClipDataset) -> tuple[int, int]:
    """Returns width and height in pixels of a dataset's clips, decoded by the VAE of a model folder."""
    config = json.loads((folder / "vae" / "config.json").read_text(encoding="utf-8"))
    scale = 2 ** (len(config["block_out_channels"]) - 1)
    _, _, height, width = dataset.latent_shape
    return width * scale, height * scale


def card_metadata(base: str, base_licence: str, tags: Sequence[str]) -> ModelCardData:
    """Returns the front matter of a card of what was trained from a base model."""
    # No eval_results: a hub compares those on public datasets, and the held-out losses are on this one's own clips.
    licence = _HUB_LICENCES.get(base_licence)
    return ModelCardData(
        license=licence or "other",
        license_name=None if licence else visible(base_licence),
        base_model=visible(public_name(base).partition("@")[0]),
        library_name="diffusers",
        pipeline_tag="text-to-video",
        tags=list(tags),
    )


def _title(dataset: ClipDataset, lineage: Lineage) -> str:
    trained = " and ".join(lineage.parts)
    about = (
        f"A text-to-video model of VidRD ([Reuse and Diffuse](https://arxiv.org/abs/2309.03549)), profile "
        f"{markdown.code(lineage.profile)}: {trained} fine-tuned on the dataset {markdown.code(dataset.folder.name)}, "
        f"{markdown.text(dataset.tag)}."
    )
    title = markdown.text(f"VidRD {lineage.profile}, {dataset.folder.name} {dataset.tag}")
    return f"# {title}\n\n{about}\n"


def _model(lineage: Lineage) -> str:
    rows = [
        ("base model", markdown.Code(public_name(lineage.base))),
        ("licence of the base model", lineage.base_licence),
        ("training started from", markdown.Code(public_name(lineage.start))),
        ("code", markdown.Code(lineage.git_commit)),
    ]
    return f"## Model\n\n{_table(('', ''), rows)}"


def _data(folder: Path, dataset: ClipDataset) -> str:
    width, height = clip_size(folder, dataset)
    clips = dataset.clips.read(["corpus", "kind", "licence", "fps"], where={"split": ["train"]})
    rates = sorted({f"{rate:g}" for rate in clips["fps"].to_pylist()}, key=float)
    facts = [
        ("dataset", markdown.Code(dataset.folder.name)),
        ("tag", dataset.tag),
        ("version of its clips", str(dataset.version)),
        ("frames per clip (N)", str(dataset.latent_shape[0])),
        ("fps", ", ".join(rates)),
        ("size in pixels", f"{width} x {height}"),
    ]
    columns = (clips[name].to_pylist() for name in ("corpus", "kind", "licence"))
    counted = sorted(Counter(zip(*columns, strict=True)).items())
    rows = [(*names, str(count)) for names, count in counted]
    counts = _table(("corpus", "kind", "licence", "clips to train on"), rows)
    return f"## Data\n\n{_table(('', ''), facts)}\n{counts}"


def _part(name: Part, part: TrainedPart) -> str:
    settings, result = part.settings, part.result
    trained_set = settings.trainable if isinstance(settings, TemporalSettings) else "temporal"
    facts = [
        ("trained", f"{trained_set}, {result.trained_parameters} parameters"),
        ("steps", str(result.steps)),
        ("clips per step", str(settings.batch_size)),
        ("learning rate", f"{settings.lr:g}"),
        ("seed", str(settings.seed)),
        ("clips trained on / held out", f"{result.train_clips} / {result.heldout_clips}"),
        ("held out", result.heldout_source),
        ("outcome", result.outcome),
    ]
    if result.left_out:
        facts.append(("clips left out, since their numbers are not finite", str(len(result.left_out))))
    if result.skipped:
        facts.append(("steps that changed nothing", str(len(result.skipped))))
    if not result.kept:
        facts.append(("in this model", f"no: it has the {name} that it had before"))
    heldout = result.heldout
    figures = sorted({figure for of_one in heldout.values() for figure in of_one})
    rows = [(figure, *(_number(of_one.get(figure)) for of_one in heldout.values())) for figure in figures]
    return f"## Training of {name}\n\n{_table(('', ''), facts)}\n{_table(('held-out', *heldout), rows)}"


def _sampling(folder: Path) -> str:
    """Returns how the model is sampled where nobody says otherwise, as the folder has it."""
    saved = json.loads((folder / "model_index.json").read_text(encoding="utf-8")).get("sampling") or {}
    if not saved:
        return ""
    rows = [
        (markdown.Code(name), markdown.Code(json.dumps(value, ensure_ascii=False)))
        for name, value in saved.items()
    ]
    about = "Used wherever a call or command does not say otherwise."
    return f"## Sampling\n\n{about}\n\n{_table(('setting', 'value'), rows)}"


def _release_settings(folder: Path) -> str:
    """Returns the settings by which a model may differ from the authors' release, as they are in force in a folder."""
    unet, vae = _config(folder, "unet", TemporalUNet), _config(folder, "vae", TemporalVAE)
    pipeline = _config(folder, None, VidRDPipeline)
    rows = [
        ("Q1", "unet.frame_embedding", unet["frame_embedding"]),
        ("Q2", "temporal_decoder", "on" if pipeline["temporal_decoder"] else "off"),
        ("Q3", "seam", pipeline["seam"]),
        ("Q4", "full_prompt_noise", pipeline["full_prompt_noise"]),
        ("Q7", "noise_deviation", pipeline["noise_deviation"]),
        ("", "vae.decode_window", vae["decode_window"]),
    ]
    texts = [(quirk, markdown.Code(setting), str(value)) for quirk, setting, value in rows]
    return f"## Settings where the release has quirks\n\n{_table(('quirk', 'setting', 'value'), texts)}"


def _usage(dataset: ClipDataset) -> str:
    caption = dataset.clips.read(["caption"], where={"split": ["train"]})["caption"][0].as_py()
    prompt = visible(" ".join(caption.split()))
    frames = dataset.latent_shape[0]
    return (
        "## Use\n\n```python\nfrom vidrd_model import VidRDPipeline\n"
        'pipe = VidRDPipeline.from_pretrained("this-folder")\n'
        f"frames = pipe({prompt!r}, num_clips=3, num_frames={frames}, seed=7).frames\n```\n\n"
        f"```\nvidrd generate --clips 3 --seed 7 --out out.mp4 --model this-folder -- {shlex.quote(prompt)}\n```\n"
    )


def _config(folder: Path, part: str | None, part_class: type) -> dict[str, Any]:
    """Returns the settings in force: the folder's, and the class's own where a folder is older than a setting."""
    parameters = inspect.signature(part_class.__init__).parameters  # type: ignore[misc]
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    file = folder / "model_index.json" if part is None else folder / part / "config.json"
    return defaults | json.loads(file.read_text(encoding="utf-8"))


def public_name(model: str) -> str:
    """Returns a hub id as it is; of a folder its last two names: where it lies on a machine is nobody's business."""
    return "/".join(Path(model).parts[-2:]) if Path(model).is_absolute() else model


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(markdown.table(head, rows)) + "\n"
