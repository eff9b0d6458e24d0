"""What infra/ describes is this system: the locked Ray, one image, valid pods. `make lint` checks the rest."""

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from flows.up.servers import WORK_POOL

ROOT = Path(__file__).resolve().parents[1]
RAY_CLUSTER = yaml.safe_load((ROOT / "infra/k8s/raycluster.yaml").read_text())
SERVICES = list(yaml.safe_load_all((ROOT / "infra/k8s/services.yaml").read_text()))
COMPOSE = yaml.safe_load((ROOT / "infra/compose.yaml").read_text())


def _locked(package: str) -> str:
    found = re.search(rf"^{package}==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert found, f"{package} is not in requirements.lock"
    return found.group(1)


def _version() -> str:
    found = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert found
    return found.group(1)


def _pod_specs() -> dict[str, Any]:
    spec = RAY_CLUSTER["spec"]
    groups = {"head": spec["headGroupSpec"]} | {g["groupName"]: g for g in spec["workerGroupSpecs"]}
    return {name: group["template"]["spec"] for name, group in groups.items()}


@pytest.mark.parametrize("group", _pod_specs())
def test_the_pods_of_the_ray_cluster_are_valid(group):
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": group}, "spec": _pod_specs()[group]}
    kubernetes_validate.validate(pod, "1.34", strict=True)


def test_the_cluster_runs_the_ray_that_is_locked():
    assert RAY_CLUSTER["spec"]["rayVersion"] == _locked("ray")


def test_every_container_is_the_image_of_this_version():
    pods = list(_pod_specs().values())
    pods += [d["spec"]["template"]["spec"] for d in SERVICES if d["kind"] == "Deployment"]
    images = {container["image"] for pod in pods for container in pod["containers"]}
    images |= {service["image"] for service in COMPOSE["services"].values()}
    assert images == {f"vidrd:{_version()}"}


def test_containers_and_pods_get_the_same_settings():
    compose = set(COMPOSE["x-vidrd"]["environment"]) - {"RAY_AUTH_TOKEN", "RAY_ADDRESS"}
    config_map = next(d for d in SERVICES if d["kind"] == "ConfigMap")
    assert compose == set(config_map["data"])


def test_ports_are_published_on_this_machine_only():
    published = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_the_worker_of_the_containers_serves_the_pool_of_the_deployments():
    script = (ROOT / "infra/docker/worker.sh").read_text()
    assert f"prefect worker start --pool {WORK_POOL}" in script
