"""Text states: what the pipeline would compute, whatever shares the batch, under a digest of what made them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from flows.profile import Profile
from tasks.captions.text_states import TextEncoder
from tasks.errors import ItemError, RequestError
from tasks.model_files import text_encoder_digest
from vidrd_model import VidRDPipeline

CAPTIONS = ["a red circle moving left", "a blue square", "", "a " * 40 + "circle", "a red circle moving left"]


@pytest.fixture
def copied_model(tiny_profile: Profile, tmp_path: Path) -> Path:
    for part in ("text_encoder", "tokenizer"):
        shutil.copytree(Path(tiny_profile.model) / part, tmp_path / "model" / part)
    return tmp_path / "model"


def test_the_states_are_the_pipelines(tiny_profile: Profile) -> None:
    states_ktd = TextEncoder(tiny_profile.model).encode(CAPTIONS)
    wanted = VidRDPipeline.from_pretrained(tiny_profile.model).encode_prompt(CAPTIONS).numpy()
    assert states_ktd.dtype == np.float16 and states_ktd.shape == wanted.shape == (5, 16, 128)
    np.testing.assert_allclose(states_ktd, wanted, atol=2e-3, rtol=2e-3)
    assert np.abs(states_ktd[0] - states_ktd[1]).max() > 0.1


@pytest.mark.parametrize("batch", [1, 3, 4])
def test_what_else_is_in_a_batch_changes_nothing(tiny_profile: Profile, batch: int) -> None:
    encoder = TextEncoder(tiny_profile.model, batch_captions=batch)
    alone = [encoder.encode([caption])[0] for caption in CAPTIONS]
    np.testing.assert_array_equal(encoder.encode(CAPTIONS), alone)
    np.testing.assert_array_equal(encoder.encode(CAPTIONS[::-1]), alone[::-1])
    assert encoder.encode([]).shape == (0, 16, 128)


def test_the_digest_is_of_encoder_and_tokenizer(tiny_profile: Profile, copied_model: Path) -> None:
    digest = text_encoder_digest(tiny_profile.model)
    assert text_encoder_digest(copied_model) == digest
    tokenizer = copied_model / "tokenizer" / "tokenizer_config.json"
    tokenizer.write_text(tokenizer.read_text() + " ")
    changed = text_encoder_digest(copied_model)
    weights = copied_model / "text_encoder" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    assert len({digest, changed, text_encoder_digest(copied_model)}) == 3


def test_models_without_a_clip_text_encoder_are_refused(copied_model: Path) -> None:
    config = copied_model / "text_encoder" / "config.json"
    values = json.loads(config.read_text())
    config.write_text(json.dumps(values | {"architectures": ["T5EncoderModel"]}))
    with pytest.raises(RequestError, match=r"model: .*T5EncoderModel.*not a CLIPTextModel"):
        TextEncoder(copied_model)
    config.write_text("{")
    with pytest.raises(RequestError, match="is no text encoder's config"):
        text_encoder_digest(copied_model)
    config.write_text(json.dumps(values))
    (copied_model / "text_encoder" / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(RequestError, match="its text_encoder cannot be loaded"):
        TextEncoder(copied_model)
    shutil.rmtree(copied_model / "tokenizer")
    with pytest.raises(RequestError, match="no tokenizer in it"):
        TextEncoder(copied_model)
    with pytest.raises(RequestError, match=r"no text_encoder/config\.json in it"):
        TextEncoder(copied_model.parent)
    with pytest.raises(RequestError, match="is not a folder"):
        TextEncoder(copied_model / "nowhere")
    with pytest.raises(RequestError, match="neither a folder nor a model on the hub"):
        TextEncoder("no/hub/id")


def test_states_beyond_float16_are_an_item_error(copied_model: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = copied_model / "text_encoder" / "model.safetensors"
    weights = load_file(path)
    (name,) = [key for key in weights if key.endswith("final_layer_norm.weight")]
    save_file(weights | {name: torch.full_like(weights[name].float(), 1e6)}, path, {"format": "pt"})
    with pytest.raises(ItemError, match="'a red circle' are not finite"):
        TextEncoder(copied_model).encode(["a red circle"])
