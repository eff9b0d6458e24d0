"""The CLIP scorer: features bring the score back bit for bit."""

from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from flows.profile import Profile
from tasks.captions.scoring import CaptionScorer
from tasks.errors import ItemError, RequestError
from tasks.model_files import scorer_digest
from tasks.tiny.world.drawing import Scene, draw_clip
from vidrd_model.clip import ClipModel, clip_tokenizer
from vidrd_model.errors import ModelError

CAPTIONS = ["a red circle moving left", "a blue square moving up", "a green triangle moving right"]


@pytest.fixture(scope="module")
def scorer(tiny_profile: Profile) -> CaptionScorer:
    return CaptionScorer(tiny_profile.clip)


def clip_of(colour: str, shape: str, direction: str, seed: int = 0) -> np.ndarray:
    return draw_clip(Scene(colour, shape, direction), np.random.default_rng(seed))


def test_the_score_is_the_mean_and_least_cosine(scorer: CaptionScorer, tiny_profile: Profile) -> None:
    frames_nhwc = clip_of("red", "circle", "left")
    score = scorer.score(frames_nhwc, CAPTIONS[:1])
    model = ClipModel.from_folder(tiny_profile.clip)
    cosines_n = model.image_features(frames_nhwc) @ model.text_features(CAPTIONS[:1])[0]
    assert (score.mean, score.minimum) == pytest.approx((cosines_n.mean(), cosines_n.min()), abs=1e-3)
    assert score.minimum < score.mean and score.mean == np.float32(score.mean)
    assert score.frame_features.dtype == np.float16
    assert score.frame_features.shape == (8, scorer.feature_width)
    norms_n = np.linalg.norm(score.frame_features.astype(float), axis=1)
    np.testing.assert_allclose(norms_n, 1, atol=1e-3)


@pytest.mark.parametrize("size", [(64, 64), (90, 160), (160, 90), (100, 101), (65, 300)])
def test_frames_of_any_shape_are_prepared_as_open_clip_does(
    tiny_profile: Profile, size: tuple[int, int]
) -> None:
    model = ClipModel.from_folder(tiny_profile.clip)
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (size[0] // 20, size[1] // 20, 3), np.uint8)
    frame = Image.fromarray(small).resize(size[::-1], Image.Resampling.BICUBIC)
    mean, std = (values.flatten().tolist() for values in (model._mean, model._std))
    theirs = open_clip.image_transform(model.image_size, is_train=False, mean=mean, std=std)(frame)
    ours = model.preprocess(torch.from_numpy(np.asarray(frame)[None]))[0]
    assert ours.shape == theirs.shape
    # It cuts off where we round, so that a side may differ by a pixel before the crop.
    assert (ours - theirs).abs().mean() < 0.05


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    for load in (ClipModel.from_folder, clip_tokenizer):
        with pytest.raises(ModelError, match=r"no open_clip model \(open_clip_config\.json is missing\)"):
            load(tmp_path)


def test_the_best_caption_is_chosen_and_of_equals_the_first(scorer: CaptionScorer) -> None:
    frames_nhwc = clip_of("green", "triangle", "right")
    score = scorer.score(frames_nhwc, CAPTIONS)
    assert score.caption == 2
    assert score.mean == scorer.score(frames_nhwc, CAPTIONS[2:]).mean
    assert scorer.score(frames_nhwc, [CAPTIONS[0], CAPTIONS[2], CAPTIONS[2]]).caption == 1


def test_kept_features_give_the_same_score_without_frames(
    scorer: CaptionScorer, tiny_profile: Profile
) -> None:
    other = CaptionScorer(tiny_profile.clip)
    for seed in range(5):
        score = scorer.score(clip_of("white", "square", "down", seed), CAPTIONS)
        kept = np.frombuffer(score.frame_features.tobytes(), np.float16).reshape(score.frame_features.shape)
        again = other.score_features(kept, CAPTIONS)
        assert (again.caption, again.mean, again.minimum) == (score.caption, score.mean, score.minimum)


def test_features_that_are_no_numbers_are_an_item_error(scorer: CaptionScorer) -> None:
    features_nd = np.full((8, scorer.feature_width), np.nan, np.float16)
    with pytest.raises(ItemError, match="not finite") as caught:
        scorer.score_features(features_nd, CAPTIONS)
    assert caught.value.stage == "score"


def test_a_model_is_named_by_its_files(tmp_path: Path) -> None:
    assert scorer_digest("ViT-B-32/laion2b_s34b_b79k") == "ViT-B-32/laion2b_s34b_b79k"
    with pytest.raises(RequestError, match=r"clip: .* is not an open_clip model"):
        scorer_digest(tmp_path)
    (tmp_path / "open_clip_config.json").write_text("{}")
    (tmp_path / "open_clip_model.safetensors").write_bytes(b"weights")
    first = scorer_digest(tmp_path)
    (tmp_path / "notes.txt").write_text("no part of the model")
    assert scorer_digest(tmp_path) == first
    (tmp_path / "open_clip_model.safetensors").write_bytes(b"weightz")
    assert scorer_digest(tmp_path) != first
