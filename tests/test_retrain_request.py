"""Attacks what a retraining is asked for: when there is nothing new, and which requests are the same training."""

from pathlib import Path

import pytest

from flows.retrain.flow import RetrainParams, retrain
from flows.retrain.request import RetrainRequest, nothing_new, read_request
from storage.local.home import home
from storage.registry.registry import Registry
from tasks.errors import RequestError
from tasks.training.record import TrainingRecord, config_digest
from tests.training_dataset import write_training_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, tiny_profile) -> str:
    folder = tmp_path_factory.mktemp("request") / "d"
    return str(write_training_dataset(folder, Path(tiny_profile.model), train=12, val=8))


def request_for(dataset: str, **params: object) -> RetrainRequest:
    return read_request(RetrainParams(dataset=dataset, **params))


def finish(request: RetrainRequest, **tags: str) -> None:
    """The run that a finished training leaves, whatever became of its model."""
    with Registry().start_run("retrain", {**request.tags(), "model_version": "4", **tags}):
        pass


def test_a_tag_that_was_trained_on_is_nothing_new(registry_home, dataset):
    def reason(**params: object) -> str | None:
        request = request_for(dataset, **params)
        return nothing_new(
            request, Registry().finished_trainings(request.dataset_folder, request.profile.name)
        )

    assert reason() is None
    finish(request_for(dataset), dataset_tag="build-0000")
    finish(request_for(dataset), profile="sd21")
    finish(request_for(dataset), dataset="/elsewhere")
    finish(request_for(dataset, part="decoder"))
    assert reason() is None and reason(part="temporal") is None
    said = reason(part="decoder")
    assert said is not None and "build-0001" in said and "version 4" in said and "\n" not in said
    finish(request_for(dataset))
    assert reason() and reason(part="temporal") and reason(trainable="all")


def test_the_flow_does_nothing_and_says_so(registry_home, dataset, prefect_session, capsys):
    from prefect.client.orchestration import get_client

    request = request_for(dataset)
    finish(request)
    result = retrain(RetrainParams(dataset=dataset, only_if_new=True, then_evaluate=True))
    assert result["trained"] is False and result["dataset_tag"] == "build-0001"
    line = f"[retrain] {result['reason']}"
    assert line in capsys.readouterr().err.splitlines()
    with get_client(sync_client=True) as client:
        shown = [artifact.data for artifact in client.read_artifacts() if artifact.key == "retrain"]
    assert f"{result['reason']}\n" in shown
    assert not (registry_home / "training").exists() and Registry().alias_version("candidate") is None


def test_the_same_training_at_once_is_refused_in_one_line(registry_home, dataset, prefect_session):
    params = RetrainParams(dataset=dataset, part="temporal", temporal_steps=3)
    with TrainingRecord.open(home() / "training", read_request(params).config()):
        for fresh in (False, True):
            with pytest.raises(RequestError, match="goes on in another process") as caught:
                retrain(params.model_copy(update={"fresh": fresh}))
            assert "\n" not in str(caught.value)


def test_what_the_result_depends_on_is_another_training(tmp_home, dataset, tiny_profile, tmp_path):
    def digest(profile: str = "tiny", **params: object) -> str:
        asked = RetrainParams(dataset=dataset, profile=profile, **params)
        return config_digest(read_request(asked, only_plan=True).config())

    def with_changed(old: str, new: str) -> str:
        source = Path(tiny_profile.model).parent
        text = (source / "profile.toml").read_text(encoding="utf-8").replace('"./', f'"{source}/')
        assert old in text
        path = tmp_path / "profile.toml"
        path.write_text(text.replace(old, new), encoding="utf-8")
        return str(path)

    usual = digest()
    assert digest(only_if_new=True, then_evaluate=True, fresh=True) == usual
    assert digest(with_changed("checkpoint_every = 50", "checkpoint_every = 7")) == usual
    assert digest(with_changed("num_workers = 2", "num_workers = 1")) == usual
    others = [
        digest(part="temporal"),
        digest(trainable="all"),
        digest(temporal_steps=99),
        digest(decoder_steps=99),
        digest(with_changed("lr = 2e-4", "lr = 1e-4")),
    ]
    assert len({usual, *others}) == 1 + len(others)


def test_a_reference_that_is_none_is_refused_before_anything_is_trained(tmp_home, dataset, tmp_path):
    with pytest.raises(RequestError, match=r"reference: .*none is no folder"):
        request_for(dataset, then_evaluate=True, reference=tmp_path / "none")
    request_for(dataset, reference=tmp_path / "none")
