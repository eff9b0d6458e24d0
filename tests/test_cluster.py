"""Ray that is not there, or too small: one line before anything starts, never a wait."""

import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from flows.retrain.request import RetrainParams, read_request
from tasks.cluster import check_room, room_for, threads_of
from tasks.cluster_checks import check_cluster
from tasks.errors import RequestError


def _vidrd(*arguments: str, **environment: str) -> tuple[subprocess.CompletedProcess[str], float]:
    before_s = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done, time.monotonic() - before_s


@pytest.mark.parametrize("arguments", [["generate", "a red circle"], ["retrain", "--plan"]], ids=" ".join)
def test_a_cluster_that_does_not_answer_is_named_at_once(arguments, tmp_path, training_clips):
    if arguments[0] == "retrain":
        arguments = [*arguments, "--dataset", str(training_clips)]
    done, took_s = _vidrd(*arguments, RAY_ADDRESS="127.0.0.1:9", VIDRD_HOME=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith(
        "error: RAY_ADDRESS: no Ray cluster answers at 127.0.0.1:9 (Connection refused)"
    )
    assert done.stderr.count("\n") == 1
    assert took_s < 20 + 40  # on a machine that does much else at once


@pytest.mark.parametrize(
    "address", ["nowhere", "http://127.0.0.1:8265", "127.0.0.1:port", "127.0.0.1:0", "ray://127.0.0.1"]
)
def test_what_is_no_address_of_a_cluster_is_refused(address, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(RequestError, match=r"RAY_ADDRESS: .* is no address of a cluster"):
        check_cluster()


def test_the_address_of_a_cluster_is_taken(ray_session, monkeypatch):
    import ray

    monkeypatch.setenv("RAY_ADDRESS", ray.get_runtime_context().gcs_address)
    check_cluster()


def test_workers_have_the_threads_that_were_asked_for_else_their_share(ray_session, monkeypatch):
    import ray

    cpus = int(ray.cluster_resources()["CPU"])
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [threads_of(workers) for workers in (1, cpus, 3 * cpus)] == [cpus, 1, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert [threads_of(workers) for workers in (1, cpus)] == [3, 3]


@pytest.mark.parametrize("greeting", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"], ids=["silent", "web server"])
def test_a_server_that_is_no_ray_is_refused_at_once(greeting, monkeypatch):
    """Ray would try for minutes here too."""
    monkeypatch.setattr("tasks.cluster_checks._ANSWER_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{server.getsockname()[1]}")
        accepted = pool.submit(server.accept)
        with pytest.raises(RequestError, match="is no Ray cluster"):
            if greeting:
                pool.submit(lambda: accepted.result()[0].sendall(greeting))
            check_cluster()
        accepted.result()[0].close()


def test_a_missing_token_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    with pytest.raises(RequestError, match=r"RAY_AUTH_TOKEN: missing.*\.ray/auth_token"):
        check_cluster()
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    with pytest.raises(RequestError, match="no Ray cluster answers"):
        check_cluster()


@pytest.mark.parametrize("part", ["temporal", "decoder"])
def test_a_profile_for_gpus_is_refused_where_there_are_none(part, tmp_path, training_clips, monkeypatch):
    import torch

    from tests.served_deployments import write_quick_profile

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    profile = write_quick_profile(tmp_path / "gpu.toml", {f"[{part}]\n": f"[{part}]\nuse_gpu = true\n"})
    params = RetrainParams(dataset=str(training_clips), part=part, profile=str(profile))
    with pytest.raises(RequestError, match=f"{part}.num_workers: .*this machine has 0"):
        read_request(params)


def test_how_many_workers_a_cluster_holds(ray_session):
    assert room_for({"CPU": 1}) == 4
    assert room_for({"CPU": 3}) == 1
    assert room_for({"CPU": 1, "GPU": 0}) == 4
    check_room("decoders", 4, {"CPU": 1})
    with pytest.raises(
        RequestError, match=r"judges: 1000 workers need 1 CPU and 0.5 GPU each, Ray has room for"
    ):
        check_room("judges", 1000, {"CPU": 1, "GPU": 0.5})


def test_parts_of_a_gpu_are_parts_of_one():
    from tasks.cluster import _room_on

    assert _room_on({"GPU": 2.0, "CPU": 8.0}, {"GPU": 0.6}) == 2
    assert _room_on({"GPU": 2.0, "CPU": 8.0}, {"GPU": 0.25, "CPU": 2}) == 4
    assert _room_on({"GPU": 3.0}, {"GPU": 2}) == 1
    assert _room_on({"CPU": 8.0}, {"GPU": 1}) == 0
