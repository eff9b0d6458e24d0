"""Nudity by a detector of the user's: ONNX files, classifiers of transformers, NudeNet; none comes with the project."""

import math
import tomllib
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from flows.profile import load_profile
from tasks.errors import RequestError
from tasks.filters.nudity import load_detector, nudity, nudity_digest
from tasks.filters.settings import NuditySettings
from tests.onnx_files import write_classifier


def plain(colour: tuple[int, int, int], frames: int = 5) -> np.ndarray:
    return np.tile(np.uint8(colour), (frames, 40, 56, 1))


def onnx(path: Path, labels: tuple[str, ...] = ("0",), **other) -> NuditySettings:
    return NuditySettings(model=str(path), licence="CC0-1.0", labels=labels, **other)


@pytest.mark.parametrize("channels_first", [True, False])
@pytest.mark.parametrize("side", [16, "open"])
def test_an_onnx_file_gets_rgb_in_the_layout_and_size_it_wants(tmp_path, channels_first, side):
    path = write_classifier(tmp_path / "net.onnx", channels_first=channels_first, side=side)
    exp = [math.exp(8 * value / 255) for value in (200, 100, 50)]
    for label, value in enumerate(exp):
        wanted = value / sum(exp)
        assert nudity(plain((200, 100, 50)), onnx(path, (str(label),))) == pytest.approx(wanted, rel=1e-2)
    assert nudity(plain((200, 100, 50)), onnx(path, ("0", "2"))) == pytest.approx(
        (exp[0] + exp[2]) / sum(exp), rel=1e-2
    )


def test_mean_deviation_and_activation_are_as_set(tmp_path):
    path = write_classifier(tmp_path / "net.onnx", gain=1.0)
    scaled = onnx(path, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), activation="sigmoid")
    x = (200 / 255 - 0.5) / 0.25
    assert nudity(plain((200, 100, 50)), scaled) == pytest.approx(1 / (1 + math.exp(-x)), rel=1e-5)
    assert nudity(plain((51, 102, 0)), onnx(path, ("0", "1"), activation="none")) == pytest.approx(0.4)


def test_a_network_that_is_very_sure_overflows_nothing(tmp_path):
    path = write_classifier(tmp_path / "net.onnx", gain=1e4)
    assert nudity(plain((200, 100, 50)), onnx(path, ("0",))) == 1.0
    assert nudity(plain((200, 100, 50)), onnx(path, ("1", "2"))) == 0.0


def test_a_profile_keeps_the_model_that_is_described(tmp_path):
    path = write_classifier(tmp_path / "net.onnx", gain=1.0)
    described = {"nudity.model": str(path), "nudity.licence": "own", "nudity.labels": ["0"]}
    assert load_profile("tiny", described).nudity.model == str(path)


def test_the_frame_that_shows_most_counts(tmp_path):
    path = write_classifier(tmp_path / "net.onnx", gain=1.0)
    for number in (0, 2, 4):
        frames = plain((0, 0, 0))
        frames[number] = (204, 0, 0)
        assert nudity(frames, onnx(path, activation="none")) == pytest.approx(0.8)


def test_a_classifier_of_transformers_is_read_by_the_names_of_its_labels(tmp_path):
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    names = {0: "nude", 1: "safe", 2: "drawn"}
    config = ViTConfig(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=32,
                       patch_size=8, id2label=names, label2id={name: i for i, name in names.items()})  # fmt: skip
    ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "vit")
    frames = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), dtype=np.uint8)

    def score(*labels: str) -> float:
        return nudity(frames, NuditySettings(model=str(tmp_path / "vit"), licence="x", labels=labels))

    assert 0 < score("nude") < 1 and score("nude") != score("safe")
    assert score("nude", "safe", "drawn") == pytest.approx(1)
    with pytest.raises(RequestError, match="labels: naked is none of nude, safe, drawn"):
        score("naked")
    (tmp_path / "vit/model.safetensors").rename(tmp_path / "vit/pytorch_model.bin")
    load_detector.cache_clear()
    with pytest.raises(RequestError, match=r"nudity: model: .*vit cannot be loaded"):
        score("nude")


def test_nudenet_where_the_user_has_installed_it():
    """Its licence is not one that the project could bring along, so nothing of ours installs it."""
    pytest.importorskip("nudenet")
    assert nudity(plain((90, 120, 200)), NuditySettings(model="nudenet")) < 0.2


def test_nudenet_is_named_with_its_licence_where_it_is_not():
    import importlib.metadata

    if "nudenet" in {found.name for found in importlib.metadata.distributions()}:
        pytest.skip("it is installed here")
    settings = NuditySettings(model="nudenet")
    with pytest.raises(RequestError, match=r"nudenet is not installed; it is under AGPL-3\.0"):
        nudity_digest(settings)
    assert settings.licence_shown == "AGPL-3.0"


def test_nothing_of_ours_installs_nudenet():
    root = Path(__file__).parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"].values()
    asked = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    asked += [name for extra in extras for name in extra]
    assert len(asked) > 40 and not [name for name in asked if "nudenet" in name.lower()]
    files = [root / "requirements.lock", root / "Makefile", *(root / "infra").rglob("*")]
    read = [path for path in files if path.is_file() and path.suffix not in (".safetensors", ".gz")]
    assert len(read) > 10
    assert not [path for path in read if b"nudenet" in path.read_bytes().lower()]


def test_a_digest_follows_the_file_and_what_decides_the_score(tmp_path):
    path = write_classifier(tmp_path / "a.onnx")
    first = nudity_digest(onnx(path))
    assert nudity_digest(onnx(path, ("1",))) != first != nudity_digest(onnx(path, activation="none"))
    assert nudity_digest(NuditySettings(model=str(path), licence="another", labels=("0",))) == first
    assert nudity_digest(onnx(write_classifier(tmp_path / "b.onnx", gain=2.0))) != first
    assert nudity_digest(onnx(write_classifier(tmp_path / "c.onnx"))) == first


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"model": "a.onnx", "labels": ["0"]}, "licence is missing"),
        ({"model": "a.onnx", "licence": "x"}, "labels are missing"),
        ({"model": "a.onnx", "licence": "x", "labels": ["nude"]}, "are numbers"),
        ({"model": "a.onnx", "licence": "x", "labels": ["0"], "std": [1, 0, 1]}, "std must not be 0"),
    ],
)
def test_settings_that_leave_something_open_are_refused(values, named):
    with pytest.raises(ValidationError, match=named):
        NuditySettings.model_validate(values)


def test_files_that_are_no_classifiers_are_one_line(tmp_path):
    with pytest.raises(RequestError, match=r"nudity: model: .*gone\.onnx is not a file"):
        nudity_digest(onnx(tmp_path / "gone.onnx"))
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(RequestError, match=r"nudity: model: .*text\.onnx cannot be loaded[^\n]*$"):
        load_detector(onnx(tmp_path / "text.onnx"))
    with pytest.raises(RequestError, match=r"gives .3,. classes, and 3 is none of them"):
        load_detector(onnx(write_classifier(tmp_path / "net.onnx"), ("3",)))
