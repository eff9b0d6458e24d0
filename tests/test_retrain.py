"""Attacks retraining from end to end: Ray Train, MLflow, and what is registered."""

import math
import shutil
import tomllib
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from flows.profile import PROFILES_DIR
from flows.retrain import training
from flows.retrain.flow import RetrainParams, retrain
from flows.retrain.request import read_request
from storage.dataset.clip_dataset import ClipDataset
from storage.errors import StorageError
from storage.local.home import home
from storage.registry.names import CANDIDATE
from storage.registry.registry import Registry, resolve_model
from tasks.errors import RequestError
from tasks.generation.resolve import saved_sampling
from tasks.training.job import TrainingJob
from tasks.training.model_card import CARD_FILE
from tasks.training.progress import SkippedStep
from tasks.training.record import TrainingRecord, config_digest
from tasks.training.result import TrainingResult
from tasks.training.settings import TemporalSettings
from tasks.training.train import train_part
from tests.saved_settings import without_saved_settings
from tests.training_dataset import write_training_dataset
from vidrd_model import VidRDPipeline

TEMPORAL_STEPS, DECODER_STEPS = 4, 3
BROKEN = ["clip-0005", "clip-0026"]
"""Clips whose latents are not numbers: one of those to train on, one of the held-out."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, tiny_profile) -> Path:
    folder = tmp_path_factory.mktemp("clips") / "d"
    return write_training_dataset(folder, Path(tiny_profile.model), broken=BROKEN)


BOTH = ["temporal", "decoder"]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(["temporal"], marks=[pytest.mark.slow, pytest.mark.gate]),
        pytest.param(BOTH, marks=pytest.mark.slow),
    ],
)
def parts(request) -> list[str]:
    """What is trained: the decoder takes as long again."""
    return request.param


@pytest.fixture(scope="module")
def retrain_home(tmp_path_factory, parts) -> Path:
    return tmp_path_factory.mktemp("retrain") / "home"


def profile_with_decoder(folder: Path, small_model: Path, **settings: float) -> Path:
    """The profile tiny with a small UNet on one worker, few held-out samples, no sample videos, and another decoder.

    What two workers change for the UNet is for the tests of workers; the decoder has two here.
    """
    text = (PROFILES_DIR / "tiny" / "profile.toml").read_text(encoding="utf-8")
    model = without_saved_settings(PROFILES_DIR / "tiny" / "model", folder / "model")
    shutil.rmtree(model / "unet")
    shutil.copytree(small_model / "unet", model / "unet")
    text = text.replace('"./model', f'"{model}')
    text = text.replace('"./', f'"{PROFILES_DIR / "tiny"}/')
    before, decoder = text.split("[decoder]")
    decoder, after = decoder.split("[sampling]")
    changed = tomllib.loads(decoder) | {"heldout_samples": 8} | settings
    lines = "\n".join(f"{name} = {value}" for name, value in changed.items())
    quick = before
    changes = {
        "heldout_samples = 64": "heldout_samples = 8",
        "sample_every = 100": "",
        "num_workers = 2": "num_workers = 1",
    }
    for slow, fast in changes.items():
        assert slow in quick
        quick = quick.replace(slow, fast)
    path = folder / "profile.toml"
    path.write_text(f"{quick}[decoder]\n{lines}\n\n[sampling]{after}", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def quick_profile(tmp_path_factory, small_model) -> Path:
    """One whose decoder surely gets better in three steps: its temporal layers are a little off at the start."""
    folder = tmp_path_factory.mktemp("profile")
    profile = profile_with_decoder(folder, small_model, lr=1e-4, warmup_steps=1)
    weights = folder / "model" / "vae" / "diffusion_pytorch_model.safetensors"
    noise = torch.Generator().manual_seed(0)
    tensors = load_file(weights)
    for name, tensor in tensors.items():
        if (
            "temp_" in name and tensor.ndim > 1 and not tensor.any()
        ):  # what lets these layers through, shut so far
            tensors[name] = (0.02 * torch.randn(tensor.shape, generator=noise)).to(tensor.dtype)
    save_file(tensors, weights)
    return profile


@pytest.fixture(scope="module")
def retrained(retrain_home, quick_profile, ray_session, dataset, parts):
    """One short retraining, without Prefect, begun by a process that was killed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDRD_HOME", str(retrain_home))
        steps = {"temporal_steps": TEMPORAL_STEPS, "decoder_steps": DECODER_STEPS}
        part = "both" if len(parts) > 1 else parts[0]
        params = RetrainParams(
            dataset=f"{dataset}@build-0001", profile=str(quick_profile), part=part, **steps
        )
        begun_run_id = begin_and_die(params)
        result = training.run(read_request(params))
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
def before_and_after(retrained, quick_profile) -> tuple[VidRDPipeline, VidRDPipeline]:
    before = VidRDPipeline.from_pretrained(quick_profile.parent / "model")
    return before, VidRDPipeline.from_pretrained(retrained[1])


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


def test_the_registered_folder_has_a_card_with_the_figures(retrained, parts):
    result, folder, registry = retrained
    card = (folder / CARD_FILE).read_text(encoding="utf-8")
    front_matter, text = card.removeprefix("---\n").split("\n---\n\n", 1)
    assert yaml.safe_load(front_matter)["license"] == "apache-2.0"
    assert registry.client.get_model_version("vidrd", "1").description == text[:5000]
    for part in parts:
        losses = [f"{figures['loss']:.4g}" for figures in result["parts"][part]["heldout"].values()]
        assert f"| loss | {' | '.join(losses)} |" in card
        assert f"{result['parts'][part]['trained_parameters']} parameters" in card
    assert result["git_commit"] in card and "build-0001" in card


def test_curves_and_heldout_figures_are_in_mlflow(retrained, parts):
    result, _, registry = retrained
    steps_of = {"temporal": TEMPORAL_STEPS, "decoder": DECODER_STEPS}
    for part in parts:
        history = registry.client.get_metric_history(result["run_id"], f"{part}.loss")
        assert [(point.step, point.value) for point in history] == result["curves"][part]
        assert len(history) == steps_of[part]
        metrics = registry.client.get_run(result["run_id"]).data.metrics
        for whose, figures in result["parts"][part]["heldout"].items():
            assert metrics[f"{part}.heldout.loss.{whose}"] == pytest.approx(figures["loss"])
        assert result["parts"][part]["heldout_source"] == "split val"
        params = registry.client.get_run(result["run_id"]).data.params
        assert params[f"{part}.steps"] == str(steps_of[part])
        assert params[f"{part}.num_workers"] == {"temporal": "1", "decoder": "2"}[part]


def test_clips_that_are_not_finite_are_named_in_the_answer_the_run_and_the_card(retrained, parts):
    result, folder, registry = retrained
    tags = registry.client.get_run(result["run_id"]).data.tags
    for part in parts:
        assert result["parts"][part]["left_out"] == BROKEN and result["parts"][part]["skipped"] == []
        assert all(name in tags[f"{part}.notes"] for name in BROKEN)
        assert all(
            math.isfinite(value)
            for figures in result["parts"][part]["heldout"].values()
            for value in figures.values()
        )
    assert "| clips left out, since their numbers are not finite | 2 |" in (folder / CARD_FILE).read_text()


def test_what_a_killed_process_had_finished_reaches_the_run(registry_home, tiny_profile, dataset):
    """Its figures were not all told, and one of them was not finite: the step is named with its clips."""
    params = RetrainParams(dataset=str(dataset), part="temporal", temporal_steps=3)
    run_id = begin_and_die(params)
    folder = home() / "training" / config_digest(read_request(params).config())[:12] / "temporal"
    skipped: list[SkippedStep] = [
        {"step": 1, "not_finite": "gradient", "clips": ["clip-0001", "clip-0002"]},
    ]
    TrainingResult(
        folder=Path(shutil.copytree(tiny_profile.model, folder / "model")),
        steps=3,
        seconds=1.0,
        curves={"loss": [3.0, 2.0, 1.0], "lr": [0.1, 0.1, 0.1], "gradient_norm": [1.0, None, 1.0]},
        heldout={
            whose: {"loss": loss} for whose, loss in (("fresh", 0.3), ("base", 0.2), ("candidate", 0.1))
        },
        skipped=skipped,
        notes=[],
        heldout_source="split val",
        train_clips=23,
        heldout_clips=7,
        trained_parameters=1,
        figures={"steps_per_s": {2: 1.5}},
    ).write(folder)
    result = training.run(read_request(params))
    assert (result["run_id"], result["resumed"]) == (run_id, True)
    assert result["parts"]["temporal"]["skipped"] == skipped
    registry = Registry()
    tags = registry.client.get_run(run_id).data.tags
    assert tags["temporal.skipped"] == "step 1 (gradient): clip-0001, clip-0002"
    assert tags["not_finite.temporal.gradient_norm"] == "1"
    steps = {"loss": [0, 1, 2], "gradient_norm": [0, 2], "steps_per_s": [2]}
    for name, wanted in steps.items():
        history = registry.client.get_metric_history(run_id, f"temporal.{name}")
        assert sorted(point.step for point in history) == wanted


@pytest.mark.slow
def test_a_decoder_that_came_out_worse_is_left_out_of_the_candidate(
    tmp_home, tmp_path, small_model, dataset, ray_session, prefect_session
):
    """With a learning rate that spoils it; the UNet of the same training is registered with the old decoder."""
    profile = profile_with_decoder(tmp_path, small_model, lr=0.3, warmup_steps=0)
    steps = {"temporal_steps": 1, "decoder_steps": 2}
    result = retrain(RetrainParams(dataset=str(dataset), profile=str(profile), **steps))
    heldout = result["parts"]["decoder"]["heldout"]
    assert heldout["candidate"]["loss"] > heldout["base"]["loss"]
    assert result["registered"] and not result["parts"]["decoder"]["kept"]
    registry = Registry()
    folder = resolve_model("models:/vidrd@candidate").folder
    now, before = VidRDPipeline.from_pretrained(folder), VidRDPipeline.from_pretrained(tmp_path / "model")
    for part, is_same in (("vae", True), ("unet", False)):
        old, new = getattr(before, part).state_dict(), getattr(now, part).state_dict()
        assert all(torch.equal(weight, new[name]) for name, weight in old.items()) is is_same, part
    outcome = registry.version_tags(result["version"])["decoder.left_out"]
    assert "worse" in outcome and f"{heldout['candidate']['loss']:.5g} after" in outcome
    assert "left out" in registry.client.get_run(result["run_id"]).data.tags["decoder.outcome"]
    card = (folder / CARD_FILE).read_text(encoding="utf-8")
    assert "no: it has the decoder that it had before" in card and outcome in card

    alone = retrain(RetrainParams(dataset=str(dataset), profile=str(profile), part="decoder", **steps))
    assert alone["trained"] and not alone["registered"] and "version" not in alone
    assert "nothing is registered" in alone["reason"] and "\n" not in alone["reason"]
    assert registry.alias_version(CANDIDATE) == result["version"]
    assert registry.run_status(alone["run_id"]) == "FINISHED"
    assert not any((tmp_home / "training").iterdir())


def test_what_is_frozen_is_bit_identical_and_what_is_trained_is_not(before_and_after, parts):
    before, after = before_and_after
    trained = {"unet", "vae"} if "decoder" in parts else {"unet"}
    for part in ("unet", "vae", "text_encoder"):
        old, new = getattr(before, part).state_dict(), getattr(after, part).state_dict()
        changed = {name for name in old if not torch.equal(old[name], new[name])}
        assert old.keys() == new.keys()
        assert bool(changed) is (part in trained) and all("temp_" in name for name in changed)


@pytest.mark.slow
@pytest.mark.parametrize("parts", [BOTH], indirect=True, scope="module")
def test_single_frames_decode_as_before_and_clips_do_not(before_and_after):
    latents = torch.randn(8, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for num_frames, same in ((1, True), (8, False)):
            decoded = [pipe.vae.decode(latents, num_frames=num_frames).sample for pipe in before_and_after]
            assert torch.equal(*decoded) is same
    assert before_and_after[1].vae.config.decode_window == 8  # the frames of the dataset's clips


def test_the_registered_folder_says_how_its_profile_samples(retrained, tiny_profile):
    saved = saved_sampling(retrained[1])
    of_profile = tiny_profile.sampling.model_dump(include=tiny_profile.sampling.model_fields_set)
    assert {name: saved[name] for name in of_profile} == of_profile
    assert (saved["width"], saved["height"]) == (64, 64)
    assert "seam" not in saved, "nobody chose one"
    card = (retrained[1] / "README.md").read_text()
    assert "## Sampling" in card and "| `num_inference_steps` | `20` |" in card


def test_the_registered_folder_generates(before_and_after):
    frames = before_and_after[1]("a red circle moving left", num_clips=1, num_inference_steps=2).frames
    assert frames.shape == (1, 8, 64, 64, 3)


def test_nothing_is_left_of_the_training_but_the_version(retrained, retrain_home):
    assert (retrain_home / "training").is_dir() and not any((retrain_home / "training").iterdir())


def test_requests_that_cannot_work_are_refused_in_one_line(tmp_home, tiny_profile, dataset, tmp_path):
    def refusal(**params) -> str:
        with pytest.raises((RequestError, StorageError)) as caught:
            read_request(RetrainParams(**params))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "is not a dataset" in refusal()
    assert "build-0007" in refusal(dataset=f"{dataset}@build-0007")
    assert "alias 'champion'" in refusal(dataset=str(dataset), start_from="champion")
    assert "no-such-profile" in refusal(dataset=str(dataset), profile="no-such-profile")
    images = write_training_dataset(tmp_path / "images", Path(tiny_profile.model), 0, 0, 20)
    read_request(RetrainParams(dataset=str(images), part="temporal"))
    assert "too few clips" in refusal(dataset=str(images), part="decoder")
    foreign = write_training_dataset(tmp_path / "f", Path(tiny_profile.model), 4, 2, 0, encoder="another")
    assert "another VAE" in refusal(dataset=str(foreign))


@pytest.mark.slow
def test_fresh_temporal_layers_learn(tmp_path, tiny_profile, ray_session):
    """From the image model with fresh temporal layers, 60 steps lower the held-out loss clearly."""
    pipe = VidRDPipeline.from_pretrained(tiny_profile.model)
    pipe.unet.reset_temporal_layers(0)
    pipe.save_pretrained(tmp_path / "image-model")
    dataset = write_training_dataset(tmp_path / "d", Path(tiny_profile.model), train=96, val=32)
    settings = TemporalSettings(steps=60, lr=5e-4, warmup_steps=10, ema_decay=0.95, heldout_samples=64)
    reports: list[int] = []
    job = TrainingJob(str(dataset), str(tmp_path / "image-model"), settings, tiny_profile.sampling)
    result = train_part(job, tmp_path / "out", on_progress=lambda done, *_: reports.append(done))
    heldout = {whose: figures["loss"] for whose, figures in result.heldout.items()}
    assert heldout["base"] == pytest.approx(heldout["fresh"], 1e-5)  # the base has fresh layers here
    assert heldout["candidate"] < 0.97 * heldout["fresh"], heldout
    assert reports[-1] == 60 and reports == sorted(reports)
