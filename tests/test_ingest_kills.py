"""Kills builds and their workers at random moments, and takes a machine away: the rows are always the same."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from storage.dataset.clip_dataset import ClipDataset
from tests.build_world import BROKEN, all_rows, build, keep_all, small_world

PROJECT = Path(__file__).parents[1]
KILLS, KILLS_HERE = 12, 8
WORKERS = ("ray::decode_source", "ray::ScoringActor", "ray::WritingActor", "tasks.ingest.decoder_process")

pytestmark = pytest.mark.slow

BUILD = """
import sys
project, corpora, dataset = sys.argv[1:]
sys.path.insert(0, project)
from pathlib import Path
from flows.profile import load_profile
from tests.build_world import build
from tests.build_world import keep_all
build(Path(corpora), Path(dataset), keep_all(load_profile("tiny"), commit_rows=12))
"""

# Three machines, of which one goes when a third of the sources are done.
CLUSTER = """
import sys
project, corpora, dataset = sys.argv[1:]
sys.path.insert(0, project)
from pathlib import Path
import ray
from ray.cluster_utils import Cluster
from flows.profile import load_profile
from tests.build_world import build
from tests.build_world import keep_all
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
cluster.wait_for_nodes()
ray.init(address=cluster.address, log_to_driver=False)
assert len(ray.nodes()) == 3 and ray.cluster_resources()["CPU"] == 3
gone = []
def watch(done, total, note):
    if total and done >= total // 3 and not gone:
        cluster.remove_node(nodes.pop(), allow_graceful=False)
        gone.append(done)
summary = build(Path(corpora), Path(dataset), keep_all(load_profile("tiny"), commit_rows=12), on_progress=watch)
import json
told = {"gone_at": gone, "lost": summary.lost, "tag": summary.tag}
Path(dataset + ".json").write_text(json.dumps(told))
ray.shutdown()
cluster.shutdown()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("kills")


@pytest.fixture(scope="module")
def corpora(folder):
    return small_world(folder / "world", images=80, short_videos=50, class_videos=24, long_videos=4)


@pytest.fixture(scope="module")
def undisturbed(folder, corpora, tiny_profile, ray_session):
    build(corpora, folder / "undisturbed", keep_all(tiny_profile))
    return folder / "undisturbed"


def _quarantine(dataset: Path) -> dict[str, tuple[str, int]]:
    info = ClipDataset.open(dataset).info()
    return {row["source_uri"]: (row["stage"], row["attempts"]) for row in info["quarantine"]}


def _check(dataset: Path, undisturbed: Path) -> None:
    assert all_rows(dataset) == all_rows(undisturbed)
    assert _quarantine(dataset) == _quarantine(undisturbed) and _quarantine(dataset).keys() == BROKEN.keys()


def test_kills_at_random_moments_change_nothing(folder, corpora, undisturbed):
    import ray

    environment = os.environ | {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    _kill_and_finish(folder / "killed", corpora, environment, KILLS)
    _check(folder / "killed", undisturbed)


def test_kills_of_a_build_in_the_commands_own_process_change_nothing(folder, tiny_profile, workers_on_ray):
    corpora = small_world(folder / "few", images=20, short_videos=16, class_videos=8, long_videos=2)
    build(corpora, folder / "few-undisturbed", keep_all(tiny_profile), workers=workers_on_ray)
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    _kill_and_finish(folder / "few-killed", corpora, environment, KILLS_HERE)
    _check(folder / "few-killed", folder / "few-undisturbed")


def _kill_and_finish(dataset: Path, corpora: Path, environment: dict[str, str], kills: int) -> None:
    """Builds until so many processes were killed, from the start again where a build got to its end, and then whole."""
    rng, killed = random.Random(7), {"driver": 0, "worker": 0}
    command = [sys.executable, "-c", BUILD, str(PROJECT), str(corpora), str(dataset)]
    first: Path | None = None
    while sum(killed.values()) < kills:
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        victim = rng.choice(list(killed))
        if victim == "worker":
            for _ in range(2):  # a third death of one source's worker would count against the source
                killed["worker"] += _kill_worker(rng, process)
        _wait(process, rng.uniform(3.0, 9.0))
        if process.poll() is None:
            process.kill()
            killed["driver"] += 1
        elif process.returncode:
            raise AssertionError(process.stderr.read())
        process.wait()
        if process.returncode == 0 and sum(killed.values()) < kills:
            # It got to its end: from the start again, with other moments.
            first, before = dataset.with_name(f"{dataset.name}-{sum(killed.values())}"), first
            dataset.rename(first)
            assert before is None or all_rows(first) == all_rows(before)
    print(f"killed: {killed}")
    assert all(killed.values())
    subprocess.run(command, env=environment, check=True)


def _wait(process: subprocess.Popen, seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return


def _kill_worker(rng: random.Random, build: subprocess.Popen) -> int:
    """Kill a worker that is at work; 0 when the build ended before there was one."""
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s and build.poll() is None:
        workers = [p for p in psutil.process_iter(["cmdline"]) if _is_at_work(p.info["cmdline"])]
        if workers and rng.random() < 0.05:
            try:
                rng.choice(workers).send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
            return 1
    return 0


def _is_at_work(command: list[str] | None) -> bool:
    return bool(command) and any(part.startswith(WORKERS) for part in command)


def test_a_machine_that_goes_mid_run_changes_nothing(folder, corpora, undisturbed):
    command = [sys.executable, "-c", CLUSTER, str(PROJECT), str(corpora), str(folder / "cluster")]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment["PYTHONPATH"] = str(PROJECT)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads((folder / "cluster.json").read_text())
    print(told)
    assert told["gone_at"] and told["tag"] == "build-0001"
    _check(folder / "cluster", undisturbed)
