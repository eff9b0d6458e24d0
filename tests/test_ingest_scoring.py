"""The models of a build by themselves: which caption a clip takes, and where one comes from that came with none."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from storage.dataset.tables import RowRef, write_rows
from storage.dataset.writer import DatasetWriter, SourceGroup
from tasks.captions.settings import CaptionerSettings
from tasks.corpora.records import CaptionSpan, MediaPlace, SourceRecord
from tasks.errors import RequestError
from tasks.ingest.decoding import decode_source
from tasks.ingest.items import DecodedClip
from tasks.ingest.recipe import Digests, Recipe
from tasks.ingest.scoring import ScoringModels
from tasks.tiny.world.drawing import Scene, draw_clip
from tasks.tiny.world.media import write_image
from tests.build_world import keep_all, small_world
from tests.dataset_rows import source_row
from tests.test_captions_captioner import write_blip


def _source(folder: Path, *captions: CaptionSpan) -> SourceRecord:
    write_image(folder / "x.png", draw_clip(Scene("red", "circle", "up"), np.random.default_rng(1))[0])
    place = MediaPlace(str(folder / "x.png"))
    return SourceRecord("id", "x.png", place, "c", "images", "CC0-1.0", captions, "given", 1, 1)


def _decoded(source: SourceRecord, recipe: Recipe) -> list[DecodedClip]:
    return [step for step in decode_source(source, recipe.clips, ()) if isinstance(step, DecodedClip)]


@pytest.mark.parametrize("right", [0, 1, 2])
def test_of_several_captions_clip_takes_the_one_that_fits(tmp_path, tiny_profile, right):
    texts = ["a blue square", "a green triangle"]
    texts.insert(right, "a red circle")
    source = _source(tmp_path, *(CaptionSpan(text, given=f" {text} ") for text in texts))
    recipe = keep_all(tiny_profile)
    models = ScoringModels(recipe, Digests.of(recipe))
    scored, row = models.score_clips(recipe.filter, [None], *_decoded(source, recipe))
    assert (row["caption"], row["caption_given"], row["caption_origin"]) == (
        "a red circle",
        " a red circle ",
        "given",
    )
    assert scored.outcomes[0].encoded
    scores = [models.score_again(row | {"caption": text}, None)["clip_score"] for text in texts]
    assert row["clip_score"] == max(scores) == scores[right]


def test_a_clip_without_a_caption_gets_one_from_the_model(tmp_path, tiny_profile):
    source = _source(tmp_path)
    recipe = replace(
        keep_all(tiny_profile),
        captioner=CaptionerSettings(model=str(write_blip(tmp_path / "blip")), candidates=3, max_tokens=6),
    )
    models = ScoringModels(recipe, Digests.of(recipe))
    scored, row = models.score_clips(recipe.filter, [None], *_decoded(source, recipe))
    assert scored.outcomes[0].failure is None and scored.seconds["caption"] > 0
    assert row["caption_origin"] == "model" and row["caption"] and row["latents"] is not None
    (again, same) = models.score_clips(recipe.filter, [None], *_decoded(source, recipe))
    assert same["caption"] == row["caption"] and again.outcomes == scored.outcomes


def test_latents_are_taken_over_from_a_row_of_the_same_pixels_only(tmp_path, tiny_profile):
    """A row of the same clip that was read wrongly by an earlier version has other pixels, and so other latents."""
    recipe = keep_all(tiny_profile)
    models = ScoringModels(recipe, Digests.of(recipe))
    decoded = _decoded(_source(tmp_path, CaptionSpan("a red circle")), recipe)
    _, row = models.score_clips(recipe.filter, [None], *decoded)
    with DatasetWriter(tmp_path / "d", row["latents"].shape) as writer:
        wrong = row | {"fingerprint": bytes(len(row["fingerprint"])), "latents": 0 * row["latents"]}
        for clips, encoded in (([row], False), ([wrong], True)):
            writer.commit(SourceGroup([source_row("id")], [], write_rows(tmp_path / "d", "clips", clips), []))
            reader = writer.table("clips")
            ref = RowRef(tmp_path / "d", "clips", reader.version, reader.count_rows() - 1)
            scored, again = models.score_clips(recipe.filter, [ref], *decoded)
            assert scored.outcomes[0].encoded is encoded
            assert np.array_equal(again["latents"], row["latents"])


def test_sources_without_captions_wait_for_a_model(tmp_path, tiny_profile):
    from tasks.corpora.config import load_corpora
    from tasks.ingest.pending import Pending

    corpora = load_corpora(small_world(tmp_path / "world", images=2, short_videos=1, class_videos=1))
    recipe = keep_all(tiny_profile)
    with DatasetWriter(tmp_path / "d", (8, 4, 8, 8)) as writer:
        problems = {source.uri: source.problem for source, _ in Pending(corpora, writer, recipe)}
        assert "no caption" in str(problems["uncaptioned.jpg"])
        with_model = replace(recipe, captioner=CaptionerSettings(model="a model"))
        problems = {source.uri: source.problem for source, _ in Pending(corpora, writer, with_model)}
        assert problems["uncaptioned.jpg"] is None


def test_a_table_without_captions_is_refused_unless_a_model_writes_them(tmp_path, tiny_profile):
    from tests.build_world import build

    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/manifest.tsv").write_text("file\na.png\n")
    corpora = tmp_path / "corpora.toml"
    table = '[[corpus]]\nname = "c"\nkind = "images"\nformat = "folder"\nlicence = "x"\npath = "photos"\n'
    corpora.write_text(table)
    recipe = keep_all(tiny_profile)
    with pytest.raises(RequestError, match=r"manifest\.tsv: has no column 'caption'"):
        build(corpora, tmp_path / "d", recipe)
    assert not (tmp_path / "d").exists()
    captioner = CaptionerSettings(model=str(write_blip(tmp_path / "blip")), candidates=1, max_tokens=4)
    summary = build(corpora, tmp_path / "d", replace(recipe, captioner=captioner))
    assert summary.read == 1 and summary.quarantined_by_stage == {"read": 1}  # only for want of the file
