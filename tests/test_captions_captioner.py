"""The captioner, with real BLIP classes of random weights: greedy first, per clip the same in any order."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tasks.captions.captioner import Captioner
from tasks.errors import ItemError, RequestError

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]"]
WORDS = ["a", "the", "red", "green", "blue", "circle", "square", "triangle", "moves", "left", "right", "on"]
SIZE = 32


def write_blip(folder: Path, seed: int = 0) -> Path:
    """A BLIP of two layers and random weights, with a tokenizer of a few words."""
    from transformers import (
        BertTokenizer,
        BlipConfig,
        BlipForConditionalGeneration,
        BlipImageProcessor,
        BlipProcessor,
    )

    folder.mkdir(parents=True)
    vocab = folder / "vocab.txt"
    vocab.write_text("\n".join([*SPECIAL, *WORDS]) + "\n", encoding="utf-8")
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {
        "vocab_size": len(SPECIAL) + len(WORDS),
        "bos_token_id": 5,
        "eos_token_id": 3,
        "sep_token_id": 3,
        "pad_token_id": 0,
        "encoder_hidden_size": 32,
        "max_position_embeddings": 64,
        "initializer_range": 0.5,
    }
    torch.manual_seed(seed)
    vision = sizes | {"image_size": SIZE, "patch_size": 8, "initializer_range": 0.5}
    model = BlipForConditionalGeneration(BlipConfig(text_config=sizes | text, vision_config=vision))
    model.save_pretrained(folder)
    images = BlipImageProcessor(size={"height": SIZE, "width": SIZE})
    BlipProcessor(images, BertTokenizer(str(vocab))).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blip(tmp_path_factory.mktemp("captioner") / "blip")


@pytest.fixture(scope="module")
def captioner(blip: Path) -> Captioner:
    return Captioner(blip, candidates=4, max_tokens=8)


def clip(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (5, 40, 56, 3), dtype=np.uint8)


def test_captions_are_distinct_words_and_few_tokens(captioner: Captioner) -> None:
    captions = captioner.captions(clip(0), "clip")
    assert 2 <= len(captions) <= 4 and len(set(captions)) == len(captions)
    for caption in captions:
        assert 1 <= len(caption.split()) <= 8 and caption == " ".join(caption.split())
        assert set(caption.split()) <= {*WORDS, "[UNK]"} and "[PAD]" not in caption


def test_order_and_neighbours_do_not_matter(captioner: Captioner, blip: Path) -> None:
    clips = {f"clip-{seed}": clip(seed) for seed in range(4)}
    first = {name: captioner.captions(frames, name) for name, frames in clips.items()}
    torch.manual_seed(99)
    other = Captioner(blip, candidates=4, max_tokens=8)
    again = {name: other.captions(clips[name], name) for name in reversed(clips)}
    assert again == first


def test_only_the_sampled_ones_follow_clip_and_seed(captioner: Captioner, blip: Path) -> None:
    frames_nhwc = clip(0)
    here = captioner.captions(frames_nhwc, "clip-a")
    there = captioner.captions(frames_nhwc, "clip-b")
    reseeded = Captioner(blip, candidates=4, max_tokens=8, seed=1).captions(frames_nhwc, "clip-a")
    assert here[0] == there[0] == reseeded[0]
    assert here[1:] != there[1:] and here[1:] != reseeded[1:]
    assert Captioner(blip, candidates=1, max_tokens=8).captions(frames_nhwc, "clip-a") == here[:1]


def test_the_middle_frame_is_what_is_described(captioner: Captioner) -> None:
    frames_nhwc = clip(0)
    others = frames_nhwc.copy()
    others[[0, 1, 3, 4]] = 0
    assert captioner.captions(others, "clip") == captioner.captions(frames_nhwc, "clip")


def test_random_numbers_of_others_are_left_alone(captioner: Captioner) -> None:
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    captioner.captions(clip(0), "clip")
    assert torch.equal(torch.rand(3), wanted)


def test_a_model_that_writes_nothing_is_an_item_error(tmp_path: Path) -> None:
    from transformers import BlipForConditionalGeneration

    folder = write_blip(tmp_path / "silent")
    model = BlipForConditionalGeneration.from_pretrained(folder)
    bias = model.text_decoder.cls.predictions.bias
    with torch.no_grad():
        bias.copy_(torch.where(torch.arange(len(bias)) == 3, 1e4, 0.0))  # the token that ends a caption
    model.save_pretrained(folder)
    with pytest.raises(ItemError, match="wrote no caption") as caught:
        Captioner(folder).captions(clip(0), "clip")
    assert caught.value.stage == "caption"


def test_other_models_are_refused_by_name(tmp_path: Path, blip: Path) -> None:
    from safetensors.torch import load_file, save_file

    with pytest.raises(RequestError, match=r"captioner: .*nowhere is not a folder"):
        Captioner(tmp_path / "nowhere")
    with pytest.raises(RequestError, match=r"captioner: .* cannot be loaded"):
        Captioner(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(RequestError, match="of the kind vit, not blip"):
        Captioner(other)
    lacking = write_blip(tmp_path / "lacking")
    weights = load_file(lacking / "model.safetensors")
    gone = next(key for key in weights if "vision_model.encoder" in key)
    save_file(
        {k: v for k, v in weights.items() if k != gone}, lacking / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(RequestError, match="lacks weights"):
        Captioner(lacking)
