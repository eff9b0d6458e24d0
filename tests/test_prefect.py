"""Deployments: prefect.yaml and the flows agree, all of it deploys, and a bare name is enough to run one."""

import ast
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flows.retrain.flow import RetrainParams
from flows.runs.prefect_plugin import accept_bare_names, full_name

ROOT = Path(__file__).resolve().parents[1]
PREFECT_YAML = yaml.safe_load((ROOT / "prefect.yaml").read_text())
DEPLOYMENTS = {deployment["name"]: deployment for deployment in PREFECT_YAML["deployments"]}
NAMES = ["build-dataset", "retrain", "evaluate", "promote", "generate", "ablate"]


def test_the_deployments_are_those_people_rely_on():
    assert list(DEPLOYMENTS) == NAMES
    assert {d["work_pool"]["name"] for d in DEPLOYMENTS.values()} == {"vidrd"}


@pytest.mark.parametrize("name", NAMES)
def test_flow_and_deployment_carry_the_same_name(name):
    module, function = DEPLOYMENTS[name]["entrypoint"].rsplit(".", 1)
    tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text())
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function]
    decorators = [ast.unparse(decorator) for node in found for decorator in node.decorator_list]
    assert decorators == [f"flow(name='{name}')", "tells_why"]


def test_two_of_them_run_on_schedules_whose_switch_the_file_leaves_alone():
    scheduled = {name: d["schedules"] for name, d in DEPLOYMENTS.items() if "schedules" in d}
    assert set(scheduled) == {"retrain", "evaluate"}
    for (schedule,) in scheduled.values():
        assert schedule["slug"] and "active" not in schedule


def test_retraining_by_schedule_looks_first_and_proposes_and_by_hand_it_trains():
    (schedule,) = DEPLOYMENTS["retrain"]["schedules"]
    params = RetrainParams(**schedule["parameters"]["params"])
    assert params.only_if_new and params.then_evaluate and not params.fresh
    by_hand = RetrainParams(**DEPLOYMENTS["retrain"].get("parameters", {}).get("params", {}))
    assert not by_hand.only_if_new and not by_hand.then_evaluate


@pytest.mark.parametrize(("name", "full"), [("a", "a/a"), ("a/b", "a/b")])
def test_a_bare_name_stands_for_flow_and_deployment(name, full):
    assert full_name(name) == full


@pytest.fixture(scope="module")
def deployed(prefect_session: None) -> str:
    """`prefect --no-prompt deploy --all` as a person types it, against the session's server; its address."""
    from prefect.settings import PREFECT_API_URL

    from flows.up.servers import ensure_work_pool

    ensure_work_pool()
    done = prefect("--no-prompt", "deploy", "--all", api=PREFECT_API_URL.value())
    assert done.returncode == 0, done.stdout + done.stderr
    return PREFECT_API_URL.value()


def prefect(*arguments: str, api: str) -> subprocess.CompletedProcess[str]:
    import os

    return subprocess.run(
        [sys.executable, "-m", "prefect", *arguments],
        cwd=ROOT,
        env=os.environ | {"PREFECT_API_URL": api, "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.gate
def test_deploying_makes_every_deployment_with_its_schedule(deployed):
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        for name, expected in DEPLOYMENTS.items():
            deployment = client.read_deployment_by_name(f"{name}/{name}")
            schedules = expected.get("schedules", [])
            assert [s.active for s in deployment.schedules] == [True] * len(schedules)
            assert [s.parameters for s in deployment.schedules] == [
                s.get("parameters", {}) for s in schedules
            ]
            assert deployment.pull_steps == [
                {"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}
            ]


@pytest.mark.slow
@pytest.mark.gate
def test_a_bare_name_runs_a_deployment_inside_the_repository(deployed):
    done = prefect("deployment", "run", "build-dataset", api=deployed)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Created flow run" in done.stdout


@pytest.mark.slow
@pytest.mark.gate
def test_a_bad_parameter_is_refused_before_a_run_exists(deployed):
    from prefect.client.orchestration import get_client

    def runs() -> int:
        with get_client(sync_client=True) as client:
            return len(client.read_flow_runs())

    before = runs()
    bad = '{"clip_threshold": 7}'
    done = prefect("deployment", "run", "build-dataset/build-dataset", "-p", f"params={bad}", api=deployed)
    assert done.returncode != 0
    assert "clip_threshold" in done.stdout + done.stderr
    assert runs() == before


def test_where_prefect_has_moved_the_lookup_the_plugin_stays_out_of_the_way(monkeypatch):
    from prefect.client.orchestration._deployments import client

    monkeypatch.delattr(client, "DeploymentAsyncClient")
    accept_bare_names(logging.getLogger("test"))  # says so at debug level and raises nothing


def test_a_server_that_a_person_starts_by_hand_gets_no_secret_that_they_do_not_know(tmp_home, monkeypatch):
    from prefect.plugins import HookContext
    from prefect.settings import PREFECT_SERVER_API_AUTH_STRING, temporary_settings

    from flows.runs.prefect_plugin import setup_environment

    context = HookContext("3.8", None, logging.getLogger)
    with temporary_settings(restore_defaults={PREFECT_SERVER_API_AUTH_STRING}):
        monkeypatch.setattr(sys, "argv", ["prefect", "--no-prompt", "server", "start"])
        assert setup_environment(ctx=context) is None
        monkeypatch.setattr(sys, "argv", ["prefect", "deployment", "ls"])
        found = setup_environment(ctx=context)
        assert found is not None and "PREFECT_SERVER_API_AUTH_STRING" in found.env
