"""The temporal layers of a model as a file with a card beside it, in the form that model hubs read."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from huggingface_hub import ModelCard

from storage.local.visible import visible
from tasks import markdown
from tasks.training.base_model import load_base
from tasks.training.model_card import card_metadata, public_name
from vidrd_model import VidRDPipeline
from vidrd_model.temporal_file import TemporalFacts, write_temporal_layers


def export_temporal_layers(folder: Path, ref: str, base: str, base_licence: str, out: Path) -> Path:
    """Writes the temporal layers of a model folder to `out`, and their card, whose path is returned.

    base is the folder or hub id of the model that the training began with. Raises ModelError where an image layer of
    the model is not the base's.
    """
    pipe = VidRDPipeline.from_pretrained(folder)
    facts = write_temporal_layers(pipe, load_base(base), out, public_name(ref), public_name(base))
    card = out.with_suffix(".md")
    metadata = card_metadata(base, base_licence, _TAGS).to_yaml()
    ModelCard(f"---\n{metadata}\n---\n\n{_text(out.name, facts, base_licence)}").save(card)
    return card


_TAGS = ("text-to-video", "vidrd", "diffusers", "temporal-layers")


def _text(name: str, facts: TemporalFacts, licence: str) -> str:
    shown = asdict(facts)
    settings = shown.pop("pipeline")
    rows: list[tuple[str, str]] = [
        (key.replace("_", " "), markdown.Code(str(value))) for key, value in shown.items()
    ]
    rows += [("licence of the base", licence)]
    rows += [(key, markdown.Code(json.dumps(value, ensure_ascii=False))) for key, value in settings.items()]
    return "\n".join(
        [
            f"# Temporal layers of {markdown.text(facts.model)}",
            "",
            "The layers of VidRD ([Reuse and Diffuse](https://arxiv.org/abs/2309.03549)) that look across frames, "
            "trained beside frozen image layers: they fit any fine-tune of the same image model.",
            "",
            *markdown.table(("", ""), rows),
            "",
            "```python",
            "from vidrd_model import VidRDPipeline",
            f'pipe = VidRDPipeline.from_image_model("another-stable-diffusion", temporal={visible(name)!r})',
            "```",
            "",
        ]
    )
