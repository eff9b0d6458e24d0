"""Captions by a vision-language model, with real Qwen2.5-VL classes of random weights, and how training mixes them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from storage.dataset.clip_dataset import ClipDataset
from tasks.captions.settings import CaptionerSettings
from tasks.captions.video_captioner import VideoCaptioner
from tasks.captions.writing import caption_writer, captioner_digest
from tasks.errors import ItemError, RequestError
from tasks.training.batches import TemporalReader
from tasks.training.caption_mix import draw_caption
from tasks.training.sampler import EpochClip
from tasks.training.settings import TemporalSettings
from tasks.training.splits import ClipRow
from tests.build_world import all_rows, build, keep_all, refilter, small_world
from tests.dataset_rows import clip_row, commit
from tests.vision_language import WORDS, write_qwen


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return write_qwen(tmp_path_factory.mktemp("captioner") / "qwen")


def settings(model: Path, **other) -> CaptionerSettings:
    values = {"model": str(model), "prompts": ("describe what happens", "what moves"), "frames": 3,
              "batch_clips": 2, "max_tokens": 6}  # fmt: skip
    return CaptionerSettings.model_validate(values | other)


@pytest.fixture(scope="module")
def captioner(model) -> VideoCaptioner:
    return VideoCaptioner(settings(model))


def clip(seed: int) -> tuple[np.ndarray, str]:
    return np.random.default_rng(seed).integers(0, 256, (8, 56, 56, 3), dtype=np.uint8), f"clip-{seed}"


def test_a_caption_for_each_prompt_in_words_and_few_tokens(captioner):
    for texts in captioner.write([clip(0), clip(1), clip(2)]):
        assert 1 <= len(texts) <= 2 and len(set(texts)) == len(texts)
        for text in texts:
            assert 1 <= len(text.split()) <= 6 and text == " ".join(text.split())
            assert set(text.split()) <= {*WORDS, "<unk>"}


def test_order_and_neighbours_do_not_matter(captioner):
    clips = [clip(seed) for seed in range(5)]
    together = captioner.write(clips)
    assert captioner.write(clips[::-1])[::-1] == together
    assert [captioner.write([one])[0] for one in clips] == together


def test_it_sees_frames_of_the_whole_clip_in_their_order(captioner, model):
    frames, name = clip(3)
    other = {"first": 0, "middle": 4, "last": 7}
    logits = {}
    for what, number in {"none": None, **other}.items():
        changed = frames.copy()
        if number is not None:
            changed[number] = 255 - changed[number]
        logits[what] = _first_scores(captioner, changed)
    for what in other:
        assert not torch.equal(logits[what], logits["none"]), what
    unseen = frames.copy()
    unseen[[1, 2, 3, 5, 6]] = 0
    assert torch.equal(_first_scores(captioner, unseen), logits["none"])
    assert not torch.equal(_first_scores(captioner, frames[::-1].copy()), logits["none"])
    assert len(VideoCaptioner(settings(model, frames=32)).write([(frames[:2], name)])[0]) >= 1


def _first_scores(captioner: VideoCaptioner, frames_nhwc: np.ndarray) -> torch.Tensor:
    """What the model says of the first token, for a clip."""
    inputs = captioner.inputs([frames_nhwc], "describe what happens")
    with torch.inference_mode():
        return captioner.model(**inputs).logits[:, -1]


def test_a_model_that_writes_nothing_is_an_item_error(tmp_path):
    silent = write_qwen(tmp_path / "silent", silent=True)
    (error,) = VideoCaptioner(settings(silent)).write([clip(0)])
    assert isinstance(error, ItemError) and error.stage == "caption" and "wrote no caption" in str(error)


def test_what_is_no_such_model_is_refused_by_name(tmp_path):
    with pytest.raises(RequestError, match=r"captioner: .*nowhere is not a folder"):
        caption_writer(settings(tmp_path / "nowhere"))
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(RequestError, match=r"captioner: .*other cannot be loaded"):
        caption_writer(settings(other))
    pickled = write_qwen(tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(RequestError, match=r"captioner: .*pickled cannot be loaded"):
        caption_writer(settings(pickled))
    mute = write_qwen(tmp_path / "mute")
    (mute / "chat_template.jinja").unlink()
    with pytest.raises(RequestError, match="has no chat template"):
        caption_writer(settings(mute))


def test_a_digest_follows_weights_and_prompts_and_not_the_place(tmp_path, model):
    first = captioner_digest(settings(model))
    assert captioner_digest(settings(write_qwen(tmp_path / "same"))) == first
    assert captioner_digest(settings(write_qwen(tmp_path / "other", seed=1))) != first
    assert captioner_digest(settings(model, prompts=("what moves",))) != first
    assert captioner_digest(settings(model, batch_clips=4, when="always")) == first


@pytest.mark.slow
@pytest.mark.gate
def test_rows_keep_the_corpus_caption_beside_those_of_the_model(tmp_path, tiny_profile, model):
    corpora = small_world(tmp_path / "world", images=3, short_videos=2, class_videos=1, long_videos=1)
    dataset = tmp_path / "d"
    recipe = keep_all(tiny_profile)
    build(corpora, dataset, recipe)
    before = all_rows(dataset)
    assert all(row["model_captions"] is None and row["captioner"] is None for row in before.values())
    always = replace(recipe, captioner=settings(model, when="always", prompts=("describe what happens",)))
    later = refilter(dataset, always)
    rows = all_rows(dataset)
    assert later.captioned == len(rows) == len(before) and later.encoded == 0
    for name, row in rows.items():
        assert row["captioner"] == always.captioned_by and str(model) in row["captioner"]
        assert row["model_captions"] and set(" ".join(row["model_captions"]).split()) <= {*WORDS, "<unk>"}
        same = {"model_captions": None, "captioner": None}
        assert row | same == before[name] | same, "the corpus's own caption, its score and origin stay"
    assert refilter(dataset, always).captioned == 0
    asked_more = replace(always, captioner=settings(model, when="always"))
    assert refilter(dataset, asked_more).captioned == len(rows)
    assert max(len(row["model_captions"]) for row in all_rows(dataset).values()) == 2
    # Built so from the start it is the same, and a source without a caption has the model's as its own.
    build(corpora, tmp_path / "e", always)
    anew = all_rows(tmp_path / "e")
    assert {name: anew[name]["model_captions"] for name in rows} == {
        name: row["model_captions"] for name, row in rows.items()
    }
    given = {row["caption_origin"] for name, row in anew.items() if name in rows}
    (alone,) = (row for name, row in anew.items() if name not in rows)
    assert "model" not in given and alone["caption_origin"] == "model"
    assert alone["caption"] in alone["model_captions"]


def test_captions_are_drawn_by_their_weights(tmp_path):
    def share(own_origin: str, written: list[str], **weights: float) -> dict[str, float]:
        drawn = Counter(
            draw_caption("own", own_origin, written, weights, torch.Generator().manual_seed(seed))
            for seed in range(4000)
        )
        return {text: count / 4000 for text, count in drawn.items()}

    mixed = share("given", ["one", "two"], corpus=1, model=3)
    assert mixed == pytest.approx({"own": 0.25, "one": 0.375, "two": 0.375}, abs=0.03)
    assert share("given", [], corpus=1, model=3) == share("label", ["one"], corpus=1) == {"own": 1.0}
    assert share("given", ["one"], model=1) == {"one": 1.0}
    assert share("given", [], model=1) == {"own": 1.0}, "no other one is there"
    assert share("model", ["own", "two"], corpus=1, model=1) == pytest.approx(
        {"own": 0.5, "two": 0.5}, abs=0.03
    )
    assert share("model", [], model=1) == {"own": 1.0}


def test_a_training_sees_both_and_the_same_again(tmp_path):
    rows = [clip_row(f"s{n}", model_captions=[f"written {n}"], captioner="m d") for n in range(4)]
    commit(tmp_path / "d", rows)
    table = ClipDataset.open(tmp_path / "d").clips.read(["row", "clip_id", "caption", "kind"])
    clips = [ClipRow(row["row"], row["clip_id"], row["caption"], row["kind"]) for row in table.to_pylist()]
    batches = [[EpochClip(epoch, one) for one in clips] for epoch in range(50)]

    def seen(**values) -> list[list[str]]:
        settings = TemporalSettings.model_validate({"steps": 1, "caption_dropout": 0.0} | values)
        reader = TemporalReader(str(tmp_path / "d"), settings, 1000)
        return [batch.captions for batch in reader.read(batches)]

    own = [one.caption for one in clips]
    assert seen() == [own] * 50
    mixed = seen(caption_mix={"corpus": 1, "model": 1})
    counts = Counter(text.split()[0] for texts in mixed for text in texts)
    assert 70 < counts["written"] < 130 and counts.total() == 200
    assert all(text.split()[-1] in (clip.clip_id[1], f"s{clip.clip_id[1]}") for texts in mixed
               for text, clip in zip(texts, clips, strict=True))  # fmt: skip
    assert seen(caption_mix={"corpus": 1, "model": 1}) == mixed
    with pytest.raises(ValueError, match="caption_mix: builds store"):
        seen(caption_mix={"model": 1}, text_states="stored")
    with pytest.raises(ValueError, match="caption_mix: weights"):
        seen(caption_mix={"model": 0})
