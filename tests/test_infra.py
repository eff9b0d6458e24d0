"""What infra/ describes is this system: the locked Ray, one image, valid pods. `make lint` checks the rest."""

import re
import subprocess
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
    compose = set(COMPOSE["x-vidrd"]["environment"]) - {"RAY_ADDRESS"}
    config_map = next(d for d in SERVICES if d["kind"] == "ConfigMap")
    assert compose == set(config_map["data"])


def test_ports_are_published_on_this_machine_only():
    published = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


SECRETS = {
    "prefect": {"PREFECT_SERVER_API_AUTH_STRING": "PREFECT_API_AUTH_STRING"},
    "mlflow": {
        "MLFLOW_AUTH_ADMIN_PASSWORD": "MLFLOW_TRACKING_PASSWORD",
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "MLFLOW_FLASK_SERVER_SECRET_KEY",
    },
    "ray": {name: name for name in ("RAY_AUTH_TOKEN", "MLFLOW_TRACKING_PASSWORD")},
    "worker": {
        name: name for name in ("RAY_AUTH_TOKEN", "MLFLOW_TRACKING_PASSWORD", "PREFECT_API_AUTH_STRING")
    },
}


def _pod_secrets(pod: dict[str, Any]) -> dict[str, str]:
    (container,) = pod["containers"]
    found = {e["name"]: e["valueFrom"]["secretKeyRef"] for e in container.get("env", []) if "valueFrom" in e}
    assert {ref["name"] for ref in found.values()} == {"vidrd"}
    return {name: ref["key"] for name, ref in found.items()}


def test_every_server_and_client_gets_the_secrets_that_it_needs_and_no_other():
    pods = {
        d["metadata"]["name"]: d["spec"]["template"]["spec"] for d in SERVICES if d["kind"] == "Deployment"
    }
    kubernetes = {name: _pod_secrets(pod) for name, pod in pods.items()}
    assert kubernetes == {name: SECRETS[name] for name in ("prefect", "mlflow", "worker")}
    assert all(_pod_secrets(pod) == SECRETS["ray"] for pod in _pod_specs().values())
    for name, service in COMPOSE["services"].items():
        long = [{"source": s, "target": s} if isinstance(s, str) else s for s in service["secrets"]]
        assert {s["target"]: s["source"] for s in long} == SECRETS[name.split("-")[0]], name
        assert service["entrypoint"] == ["infra/docker/with-secrets.sh"], name


def test_secrets_are_made_anew_and_stand_in_no_file_of_ours():
    script = ROOT / "infra/docker/secrets.sh"
    made = [dict(line.split("=", 1) for line in _run(script).splitlines()) for _ in range(2)]
    needed = {source for secrets in SECRETS.values() for source in secrets.values()}
    assert set(made[0]) == set(made[1]) == needed == set(COMPOSE["secrets"])
    assert not set(made[0].values()) & set(made[1].values())
    assert all(len(value) >= 64 for value in made[0].values())
    assert made[0]["PREFECT_API_AUTH_STRING"].startswith("vidrd:")
    plain = [
        COMPOSE["x-vidrd"]["environment"],
        *(s.get("environment", {}) for s in COMPOSE["services"].values()),
    ]
    plain.append(next(d for d in SERVICES if d["kind"] == "ConfigMap")["data"])
    assert not {name for values in plain for name in values} & {name for s in SECRETS.values() for name in s}


def _run(script: Path) -> str:
    return subprocess.run([script], capture_output=True, text=True, check=True).stdout


def test_a_command_in_a_container_finds_the_mounted_secrets(tmp_path):
    text = (ROOT / "infra/docker/with-secrets.sh").read_text()
    mounted = tmp_path / "secrets"
    mounted.mkdir()
    (mounted / "A_SECRET").write_text("with spaces and 'quotes'\n")
    script = tmp_path / "script.sh"
    script.write_text(text.replace("/run/secrets", str(mounted)))
    shown = subprocess.run(["bash", script, "env"], capture_output=True, text=True, check=True).stdout
    assert "A_SECRET=with spaces and 'quotes'\n" in shown


def test_the_worker_of_the_containers_serves_the_pool_of_the_deployments():
    script = (ROOT / "infra/docker/worker.sh").read_text()
    assert f"prefect worker start --pool {WORK_POOL}" in script
