"""No file from outside runs code: attack files go to every reader of weights, models and archives."""

import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from storage.errors import StorageError
from storage.weights import fetch
from tasks.captions.aesthetics import AestheticHead
from tasks.captions.captioner import Captioner
from tasks.captions.text_states import TextEncoder
from tasks.clips.from_source import clips_of
from tasks.clips.settings import ClipSettings
from tasks.errors import RequestError
from tasks.training.base_model import load_base
from tasks.training.perceptual import backbone_file, load_perceptual
from tests.corpus_records import read_records
from tests.foreign_code import KINDS, plant, plant_module, plant_tar, ran
from vidrd_model import TemporalUNet, VidRDPipeline
from vidrd_model.clip import ClipModel
from vidrd_model.errors import ModelError
from vidrd_model.metrics import C3D, I3D
from vidrd_model.metrics.i3d_convert import read_checkpoint
from vidrd_model.published import load_weights

REFUSALS = (ModelError, RequestError, StorageError)


def _unet_folder(path: Path) -> Any:
    return TemporalUNet.from_image_unet(path.parent)


READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "C3D": ("c3d.pt", C3D.from_weights),
    "I3D": ("i3d.ckpt", I3D.from_weights),
    "I3D's converter": ("i3d.ckpt", read_checkpoint),
    "weights fetch --file": ("i3d.ckpt", lambda path: fetch("i3d", given=path)),
    "the authors' release": ("ModelT2V.pth", load_weights),
    "an aesthetic head": ("head.pth", lambda path: AestheticHead(path, 8)),
    "safetensors in name": ("c3d.safetensors", C3D.from_weights),
    "an image UNet": ("diffusion_pytorch_model.bin", _unet_folder),
    "a checkpoint of CLIP": ("open_clip_pytorch_model.bin", lambda path: ClipModel.from_folder(path.parent)),
}


def test_the_attacks_work_where_they_are_let(tmp_path: Path) -> None:
    for kind in KINDS:
        folder = tmp_path / kind
        path = plant(folder, kind, "file")
        assert not ran(folder)
        if kind == "torchscript":
            torch.jit.load(str(path))
        elif kind == "pickle":
            import pickle

            pickle.loads(path.read_bytes())
        else:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
                torch.load(path)
        assert ran(folder), kind


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_run_code_are_refused_unrun(
    tmp_path: Path,
    tmp_home: Path,
    tiny_profile: Any,
    monkeypatch: pytest.MonkeyPatch,
    reader: str,
    kind: str,
) -> None:
    monkeypatch.setenv(
        "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1"
    )  # turns off torch's own caution where nothing is said
    name, read = READERS[reader]
    folder = tmp_path / "files"
    path = plant(folder, kind, f"weights/{name}")
    if reader == "an image UNet":
        shutil.copy(_unet_config(tmp_path), path.parent / "config.json")
    if reader == "a checkpoint of CLIP":
        for file in ("open_clip_config.json", "bpe_merges.txt.gz"):
            shutil.copy(Path(tiny_profile.clip) / file, path.parent)
    with pytest.raises(REFUSALS) as caught:
        read(path)
    assert not ran(folder)
    assert path.name in str(caught.value) or "weights" in str(caught.value)


def _unet_config(tmp_path: Path) -> Path:
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(
            block_out_channels=(32,), down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",)
        )
    unet.save_config(tmp_path / "config")
    return tmp_path / "config" / "config.json"


@pytest.mark.parametrize("kind", KINDS)
def test_torch_s_cache_of_vgg16_is_not_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch"
    plant(folder, kind, str(backbone_file().relative_to(folder)))
    found, line = load_perceptual(torch.device("cpu"))
    assert found is None and not ran(folder)
    assert line.startswith("perceptual loss off: ") and "cannot be read" in line and "\n" not in line


@pytest.fixture
def model(tmp_path: Path, small_model: Path) -> Path:
    """A copy of a model folder that may be spoilt."""
    return shutil.copytree(small_model, tmp_path / "model")


@pytest.mark.parametrize("load", [load_base, VidRDPipeline.from_pretrained])
@pytest.mark.parametrize("part", ["unet", "text_encoder", "tokenizer", "scheduler"])
def test_a_model_folder_names_no_module_to_import(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, load: Callable, part: str
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path / "beside"))  # as the folder that a script is started in
    plant_module(tmp_path, tmp_path / "beside", "evil_model")
    plant_module(tmp_path, model / part, "evil_model")
    index = json.loads((model / "model_index.json").read_text())
    if load is load_base:
        index["unet"] = ["diffusers", "UNet2DConditionModel"]
    index[part] = ["evil_model", "Model"]
    (model / "model_index.json").write_text(json.dumps(index))
    with pytest.raises((ModelError, ValueError), match=r"evil_model|no VidRD model|cannot be loaded"):
        load(model)
    assert not ran(tmp_path) and "evil_model" not in sys.modules


def test_a_pipeline_s_own_code_is_not_loaded(model: Path, tmp_path: Path) -> None:
    plant_module(tmp_path, model, "pipeline")
    index = json.loads((model / "model_index.json").read_text())
    index["_class_name"] = ["pipeline", "Model"]
    (model / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError):
        VidRDPipeline.from_pretrained(model)
    assert not ran(tmp_path)


def test_a_tokenizer_s_own_code_is_not_loaded(model: Path, tmp_path: Path) -> None:
    plant_module(tmp_path, model / "tokenizer", "evil_tokenizer")
    path = model / "tokenizer" / "tokenizer_config.json"
    config = json.loads(path.read_text()) | {
        "tokenizer_class": "EvilTokenizer",
        "auto_map": {"AutoTokenizer": ["evil_tokenizer.Tokenizer", "evil_tokenizer.Tokenizer"]},
    }
    path.write_text(json.dumps(config))
    try:
        TextEncoder(model)
    except RequestError as error:
        assert "\n" not in str(error)
    assert not ran(tmp_path)


def test_a_captioner_s_own_code_is_not_loaded(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "captioner"
    plant_module(tmp_path, folder, "evil_blip")
    config = {
        "model_type": "evil",
        "auto_map": {"AutoConfig": "evil_blip.Config", "AutoModel": "evil_blip.Model"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(RequestError, match=r"captioner: .*captioner cannot be loaded"):
        Captioner(folder)
    assert not ran(tmp_path) and "[y/N]" not in "".join(capfd.readouterr())  # nobody is asked either


@pytest.mark.parametrize("key", ["hf_model_name", "hf_tokenizer_name"])
def test_a_clip_folder_s_own_code_is_not_loaded(
    tmp_path: Path, tiny_profile: Any, capfd: pytest.CaptureFixture[str], key: str
) -> None:
    folder = shutil.copytree(tiny_profile.clip, tmp_path / "clip")
    (folder / "bpe_merges.txt.gz").unlink()
    plant_module(tmp_path, folder, "evil_text")
    auto_map = {
        "AutoConfig": "evil_text.Config",
        "AutoModel": "evil_text.Model",
        "AutoTokenizer": ["evil_text.Tokenizer", None],
    }
    (folder / "config.json").write_text(json.dumps({"model_type": "evil", "auto_map": auto_map}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"auto_map": auto_map}))
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    config["model_cfg"]["text_cfg"] |= {key: str(folder), "tokenizer_kwargs": {"trust_remote_code": True}}
    path.write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"clip: no (open_clip model|tokenizer) could be loaded"):
        ClipModel.from_folder(folder)
    assert not ran(tmp_path) and "[y/N]" not in "".join(capfd.readouterr())


def test_pickles_in_a_tar_are_not_loaded(tmp_path: Path) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(picture, "PNG")
    (tmp_path / "tars").mkdir()
    plant_tar(tmp_path, tmp_path / "tars" / "00000.tar", picture.getvalue())
    (source,) = read_records(tmp_path / "tars", "images", "webdataset").values()
    assert len(list(clips_of(source, ClipSettings()))) == 1
    assert not ran(tmp_path)
