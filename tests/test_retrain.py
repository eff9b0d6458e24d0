"""Attacks retraining from end to end: Ray Train with two workers, MLflow, and what is registered."""

from pathlib import Path

import pytest
import torch
import yaml

from flows.profile import PROFILES_DIR
from flows.retrain import RetrainParams, check, retrain
from flows.retrain_request import read_request
from storage.dataset import ClipDataset
from storage.errors import StorageError
from storage.home import home
from storage.registry import CANDIDATE, Registry, resolve_model
from tasks.errors import RequestError
from tasks.training.model_card import CARD_FILE
from tasks.training.record import TrainingRecord
from tasks.training.settings import TemporalSettings
from tests.training_dataset import write_training_dataset
from vidrd_model import VidRDPipeline

TEMPORAL_STEPS, DECODER_STEPS = 4, 3


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, tiny_profile) -> Path:
    return write_training_dataset(tmp_path_factory.mktemp("clips") / "d", Path(tiny_profile.model))


@pytest.fixture(scope="module")
def retrain_home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("retrain") / "home"


@pytest.fixture(scope="module")
def quick_profile(tmp_path_factory) -> Path:
    """The profile tiny with few held-out samples: three models are measured on them."""
    text = (PROFILES_DIR / "tiny" / "profile.toml").read_text(encoding="utf-8")
    text = text.replace('"./', f'"{PROFILES_DIR / "tiny"}/')
    quick = text.replace("heldout_samples = 64", "heldout_samples = 8")
    assert quick != text
    path = tmp_path_factory.mktemp("profile") / "profile.toml"
    path.write_text(quick, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def retrained(retrain_home, quick_profile, ray_session, prefect_session, dataset):
    """One short retraining of both parts, begun by a process that was killed; most tests here look at it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDRD_HOME", str(retrain_home))
        steps = {"temporal_steps": TEMPORAL_STEPS, "decoder_steps": DECODER_STEPS}
        params = RetrainParams(dataset=f"{dataset}@build-0001", profile=str(quick_profile), **steps)
        begun_run_id = begin_and_die(params)
        result = retrain(params)
        assert result["resumed"] and result["run_id"] == begun_run_id
        yield result, resolve_model(f"models:/vidrd@{CANDIDATE}").folder, Registry()


def begin_and_die(params: RetrainParams) -> str:
    """What a process leaves that is killed as soon as it has begun: a record, and a run that MLflow believes in."""
    request, registry = read_request(params), Registry()
    with (
        TrainingRecord.open(home() / "training", request.config()) as record,
        registry.start_run("retrain", request.tags()) as run,
    ):
        record.note_run(run.run_id)
        (record.folder / "temporal").mkdir()
    registry.client.update_run(run.run_id, status="RUNNING")
    return run.run_id


@pytest.fixture(scope="module")
def before_and_after(retrained, tiny_profile) -> tuple[VidRDPipeline, VidRDPipeline]:
    return VidRDPipeline.from_pretrained(tiny_profile.model), VidRDPipeline.from_pretrained(retrained[1])


def test_the_result_is_registered_with_its_lineage(retrained, dataset):
    result, _, registry = retrained
    assert registry.alias_version(CANDIDATE) == result["version"] == 1
    tags = registry.version_tags(1)
    assert (tags["dataset"], tags["dataset_tag"]) == (str(dataset), "build-0001")
    assert tags["dataset_version"] == str(ClipDataset.open(dataset).version)
    assert tags["git_commit"] and tags["encoder"]


def test_it_is_one_run_even_across_restarts(retrained, dataset):
    result, _, registry = retrained
    runs = registry.client.search_runs([registry.client.get_run(result["run_id"]).info.experiment_id])
    assert [(run.info.run_id, run.info.status) for run in runs] == [(result["run_id"], "FINISHED")]
    assert runs[0].data.tags["model_version"] == "1"
    params = runs[0].data.params
    assert (params["dataset"], params["dataset_tag"]) == (str(dataset), "build-0001")
    assert params["dataset_version"] == str(ClipDataset.open(dataset).version)
    assert params["git_commit"] == result["git_commit"]
    (finished,) = registry.finished_trainings(str(dataset), "tiny")
    assert finished["dataset_tag"] == "build-0001"


def test_the_registered_folder_has_a_card_with_the_figures(retrained):
    result, folder, registry = retrained
    card = (folder / CARD_FILE).read_text(encoding="utf-8")
    front_matter, text = card.removeprefix("---\n").split("\n---\n\n", 1)
    assert yaml.safe_load(front_matter)["license"] == "apache-2.0"
    assert registry.client.get_model_version("vidrd", "1").description == text[:5000]
    for part in ("temporal", "decoder"):
        losses = [f"{figures['loss']:.4g}" for figures in result["parts"][part]["heldout"].values()]
        assert f"| loss | {' | '.join(losses)} |" in card
        assert f"{result['parts'][part]['trained_parameters']} parameters" in card
    assert result["git_commit"] in card and "build-0001" in card


def test_curves_and_heldout_figures_are_in_mlflow(retrained):
    result, _, registry = retrained
    for part, steps in (("temporal", TEMPORAL_STEPS), ("decoder", DECODER_STEPS)):
        history = registry.client.get_metric_history(result["run_id"], f"{part}.loss")
        assert [(point.step, point.value) for point in history] == result["curves"][part]
        assert len(history) == steps
        metrics = registry.client.get_run(result["run_id"]).data.metrics
        for whose, figures in result["parts"][part]["heldout"].items():
            assert metrics[f"{part}.heldout.loss.{whose}"] == pytest.approx(figures["loss"])
        assert result["parts"][part]["heldout_source"] == "split val"
    params = registry.client.get_run(result["run_id"]).data.params
    assert params["temporal.steps"] == str(TEMPORAL_STEPS) and params["decoder.num_workers"] == "2"


def test_what_is_frozen_is_bit_identical_and_what_is_trained_is_not(before_and_after):
    before, after = before_and_after
    for part in ("unet", "vae", "text_encoder"):
        old, new = getattr(before, part).state_dict(), getattr(after, part).state_dict()
        changed = {name for name in old if not torch.equal(old[name], new[name])}
        assert old.keys() == new.keys()
        if part == "text_encoder":
            assert not changed
        else:
            assert changed and all("temp_" in name for name in changed)


def test_single_frames_decode_as_before_and_clips_do_not(before_and_after):
    latents = torch.randn(8, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for num_frames, same in ((1, True), (8, False)):
            decoded = [pipe.vae.decode(latents, num_frames=num_frames).sample for pipe in before_and_after]
            assert torch.equal(*decoded) is same
    assert before_and_after[1].vae.config.decode_window == 8  # the frames of the dataset's clips


def test_the_registered_folder_generates(before_and_after):
    frames = before_and_after[1]("a red circle moving left", num_clips=1, num_inference_steps=2).frames
    assert frames.shape == (1, 8, 64, 64, 3)


def test_nothing_is_left_of_the_training_but_the_version(retrained, retrain_home):
    assert (retrain_home / "training").is_dir() and not any((retrain_home / "training").iterdir())


def test_requests_that_cannot_work_are_refused_in_one_line(tmp_home, tiny_profile, dataset, tmp_path):
    def refusal(**params) -> str:
        with pytest.raises((RequestError, StorageError)) as caught:
            check(RetrainParams(**params))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "is not a dataset" in refusal()
    assert "build-0007" in refusal(dataset=f"{dataset}@build-0007")
    assert "alias 'champion'" in refusal(dataset=str(dataset), start_from="champion")
    assert "no-such-profile" in refusal(dataset=str(dataset), profile="no-such-profile")
    images = write_training_dataset(tmp_path / "images", Path(tiny_profile.model), 0, 0, 20)
    check(RetrainParams(dataset=str(images), part="temporal"))
    assert "too few clips" in refusal(dataset=str(images), part="decoder")
    foreign = write_training_dataset(tmp_path / "f", Path(tiny_profile.model), encoder="another")
    assert "another VAE" in refusal(dataset=str(foreign))


@pytest.mark.slow
def test_fresh_temporal_layers_learn(tmp_path, tiny_profile, ray_session):
    """From the image model with fresh temporal layers, 60 steps lower the held-out loss clearly."""
    from tasks.training.temporal import train_temporal

    pipe = VidRDPipeline.from_pretrained(tiny_profile.model)
    pipe.unet.reset_temporal_layers(0)
    pipe.save_pretrained(tmp_path / "image-model")
    dataset = write_training_dataset(tmp_path / "d", Path(tiny_profile.model), train=96, val=32)
    settings = TemporalSettings(steps=60, lr=5e-4, warmup_steps=10, ema_decay=0.95, heldout_samples=64)
    reports: list[int] = []
    result = train_temporal(
        str(dataset),
        tmp_path / "image-model",
        tmp_path / "out",
        settings,
        lambda done, *_: reports.append(done),
    )
    heldout = {whose: figures["loss"] for whose, figures in result.heldout.items()}
    assert heldout["base"] == pytest.approx(heldout["fresh"], 1e-5)  # the base has fresh layers here
    assert heldout["candidate"] < 0.97 * heldout["fresh"], heldout
    assert reports[-1] == 60 and reports == sorted(reports)
