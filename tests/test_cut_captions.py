"""Captions of which a model reads the beginning only: counted as the tokenizers cut them, and never passed over."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.dataset.info import dataset_info
from flows.dataset.report import report
from flows.retrain.request import RetrainParams, read_request
from flows.retrain.training import cut_captions
from storage.dataset.builds import finished_builds, write_index
from storage.dataset.clip_dataset import ClipDataset
from storage.dataset.removal import remove
from tasks.captions.cut_captions import CONDITIONING, SCORING, count_cut, cut_lines
from tasks.ingest.thresholds import Asked
from tests.build_world import refilter, scored_dataset
from tests.training_dataset import write_training_dataset

LONG = "a red circle moving right over a dark ground while a blue square waits for its turn at the far end"
SHORT = "a red circle"


@pytest.fixture(scope="module")
def wide_clip(tmp_path_factory, tiny_profile) -> str:
    """The tiny CLIP as if it took 77 tokens: what it and the text encoder take is not the same number."""
    folder = shutil.copytree(tiny_profile.clip, tmp_path_factory.mktemp("clip") / "wide")
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"]["context_length"] = 77
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return str(folder)


def test_each_is_counted_by_its_own_tokenizer(tiny_profile, wide_clip):
    texts = [LONG, *[SHORT] * 5, "été & 狐狸", LONG, LONG]
    both = {CONDITIONING: texts, SCORING: texts}
    counts = count_cut(tiny_profile.model, wide_clip, both)
    assert (counts[CONDITIONING]["cut"], counts[CONDITIONING]["of"], counts[CONDITIONING]["tokens"]) == (
        3,
        9,
        16,
    )
    assert counts[SCORING] == {"cut": 0, "of": 9, "tokens": 77}
    assert counts[CONDITIONING]["example"] == LONG and LONG.endswith(counts[CONDITIONING]["lost"])
    (line,) = cut_lines(counts)
    assert line.startswith(
        "3 of 9 captions are longer than the 16 tokens that the model's text encoder takes"
    )
    assert "far end" in line
    alike = count_cut(tiny_profile.model, tiny_profile.clip, both)
    assert [alike[role]["cut"] for role in both] == [3, 3] and len(cut_lines(alike)) == 2


TEXTS = st.one_of(
    st.text(max_size=20),
    st.text(st.characters(codec="ascii"), max_size=20),
    st.lists(st.sampled_from(["&ne;", "&NotEqualTilde;", "3840", "ﬃ", "İ", "a", " ", "\n"]), max_size=8).map(
        "".join
    ),
)


@pytest.fixture(scope="module")
def tokenizers(tiny_profile) -> dict[str, Any]:
    from transformers import AutoTokenizer

    from vidrd_model.clip import clip_tokenizer

    return {
        CONDITIONING: AutoTokenizer.from_pretrained(Path(tiny_profile.model) / "tokenizer"),
        SCORING: clip_tokenizer(tiny_profile.clip),
    }


@settings(max_examples=12, deadline=None)
@given(texts=st.sets(TEXTS, max_size=40))
def test_what_is_too_short_to_be_looked_at_is_never_cut(texts, tiny_profile, tokenizers):
    from vidrd_model.lost_words import lost_words

    counts = count_cut(tiny_profile.model, tiny_profile.clip, {role: sorted(texts) for role in tokenizers})
    for role, tokenizer in tokenizers.items():
        assert counts[role]["cut"] == sum(bool(lost_words(tokenizer, text)) for text in texts)


def test_a_model_without_a_tokenizer_is_no_reason_to_fail(tmp_path, tiny_profile):
    counts = count_cut(tmp_path / "nowhere", tiny_profile.clip, {CONDITIONING: [LONG], SCORING: []})
    assert counts[CONDITIONING]["cut"] == 0 and counts[CONDITIONING]["unknown"]
    assert cut_lines(counts) == [] and counts[SCORING] == {"cut": 0, "of": 0, "tokens": 16}


def _with_long_captions(folder: Path, profile: Any, wide_clip: str) -> tuple[Path, Any]:
    """A dataset of six clips: of the four kept ones one is longer than 16 tokens, of the others both are."""
    profile = profile.model_copy(update={"clip": wide_clip})
    scores = {"a": 0.9, "b": 0.9, "c": 0.8, "d": 0.7, "e": 0.1, "f": 0.2}
    captions = {"b": LONG, "e": LONG, "f": LONG.upper()}
    return scored_dataset(folder, profile, scores, captions), profile.recipe()


def test_the_build_counts_and_info_and_the_report_say_so(tmp_path, tiny_profile, wide_clip):
    dataset, recipe = _with_long_captions(tmp_path / "d", tiny_profile, wide_clip)

    def info() -> Any:
        return dataset_info(ClipDataset.open(dataset))["cut_captions"]

    def page() -> str:
        return Path(report(str(dataset), tmp_path / "report.html")["report"]).read_text(encoding="utf-8")

    assert info() is None and "No build of this dataset counted them" in page()
    summary = refilter(dataset, recipe)
    assert summary.tag == "build-0001", "not a row has moved"
    assert summary.cut_captions is not None
    assert (summary.cut_captions[CONDITIONING]["cut"], summary.cut_captions[CONDITIONING]["of"]) == (1, 4)
    assert (summary.cut_captions[SCORING]["cut"], summary.cut_captions[SCORING]["of"]) == (0, 6)
    assert info() == summary.cut_captions | {"counted_in": "build-0001"}
    assert "1 of 4 captions are longer than the 16 tokens" in page()
    again = refilter(dataset, recipe)
    assert again.cut_captions == summary.cut_captions, "nothing is counted again where nothing has changed"
    moved = refilter(
        dataset, replace(recipe, clip_model=recipe.clip_model), asked=Asked({"clip_threshold": -1.0})
    )
    assert moved.cut_captions is not None and moved.cut_captions[CONDITIONING]["cut"] == 3
    remove(dataset, sources=["e"])
    assert info()["counted_in"] == moved.tag
    assert refilter(dataset, recipe).cut_captions[CONDITIONING]["cut"] == 2


def test_a_dataset_of_an_earlier_version_is_counted_by_its_next_build(tmp_path, tiny_profile, wide_clip):
    dataset, recipe = _with_long_captions(tmp_path / "d", tiny_profile, wide_clip)
    refilter(dataset, recipe)
    builds = finished_builds(dataset)
    del builds[-1].summary["cut_captions"]
    write_index(dataset, builds)
    summary = refilter(dataset, recipe)
    assert (summary.tag, summary.cut_captions[CONDITIONING]["cut"]) == ("build-0001", 1)


def test_a_training_says_what_it_will_not_read(tmp_path, tmp_home, tiny_profile):
    dataset = write_training_dataset(tmp_path / "d", Path(tiny_profile.model), 3, 2, caption=LONG)
    counts = cut_captions(read_request(RetrainParams(dataset=str(dataset))))
    assert (counts[CONDITIONING]["cut"], counts[CONDITIONING]["of"]) == (9, 9) and SCORING not in counts
    assert cut_captions(read_request(RetrainParams(dataset=str(dataset), part="decoder"))) == {}
