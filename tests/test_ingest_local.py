"""A small build in the command's own process: no Ray, the same rows, and decoders that may die as they like."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from storage.dataset.clip_dataset import ClipDataset
from storage.dataset.tables import open_table
from tasks import cluster_checks
from tasks.errors import ItemError, RequestError
from tasks.ingest.decoder_process import DecoderProcess
from tasks.ingest.executor import ITEMS_PER_WORKER
from tasks.ingest.frames import COLUMNS
from tasks.ingest.recipe import Digests
from tasks.ingest.workers import runs_here
from tests.build_world import DIES_AT_A_COMMIT, LocalWorkers, all_rows, build, keep_all, refilter, small_world
from tests.decoder_children import count_up, die, refuse, say_what_it_is

PROJECT = Path(__file__).parents[1]

# Commands as a user gives them, each in a process of its own; it kills itself before its n-th commit to a table.
SCRIPT = (
    DIES_AT_A_COMMIT
    + """
profile = load_profile("tiny")
build(Path(corpora), Path(dataset), keep_all(profile, threshold=0.9, commit_rows=6, text_states=True))
refilter(Path(dataset), keep_all(profile))
assert "ray" not in sys.modules
"""
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("local")


@pytest.fixture(scope="module")
def corpora(folder: Path) -> Path:
    return small_world(folder / "world", images=4, short_videos=3, class_videos=2, long_videos=1)


def command(corpora: Path, dataset: Path, fatal: int = 0) -> subprocess.CompletedProcess:
    arguments = [sys.executable, "-c", SCRIPT, str(PROJECT), str(corpora), str(dataset), str(fatal)]
    return subprocess.run(arguments, capture_output=True, text=True, cwd=corpora.parent)


def quarantine(dataset: Path) -> list[tuple[Any, ...]]:
    found = ClipDataset.open(dataset).info()["quarantine"]
    return sorted((row["source_uri"], row["stage"], row["error"], row["attempts"]) for row in found)


@pytest.mark.slow
@pytest.mark.gate
def test_rows_are_those_of_a_build_on_ray_through_kills(folder, corpora, tiny_profile, workers_on_ray):
    """Killed between two commits, then finished; and refiltered, which encodes what was rejected before."""
    build(corpora, folder / "ray", keep_all(tiny_profile, threshold=0.9), workers=workers_on_ray)
    assert any(row["latents"] is None for row in all_rows(folder / "ray").values())
    refilter(folder / "ray", keep_all(tiny_profile), workers=workers_on_ray)
    # Four commits repair what needs none, then there are four for each group of sources.
    killed = command(corpora, folder / "local", fatal=4 + 4 + 4)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert open_table(folder / "local", "sources").count_rows() > 0
    done = command(corpora, folder / "local")
    assert done.returncode == 0, done.stderr
    assert all_rows(folder / "local") == all_rows(folder / "ray")
    assert quarantine(folder / "local") == quarantine(folder / "ray")
    captions = sorted({row["caption"] for row in all_rows(folder / "local").values()})
    assert ClipDataset.open(f"{folder}/local@build-0001").text_states(captions[:0]) is not None


def test_what_is_done_here(monkeypatch):
    program = "from tasks.ingest.workers import runs_here; print(runs_here({0}), runs_here({0} + 1))"
    asked = [sys.executable, "-c", program.format(ITEMS_PER_WORKER)]
    for address, answer in (("", "True False"), ("local", "True False"), ("10.0.0.1:6379", "False False")):
        done = subprocess.run(
            asked, env=os.environ | {"RAY_ADDRESS": address}, cwd=PROJECT, capture_output=True, text=True
        )
        assert done.stdout.split() == answer.split(), done.stderr


def test_a_session_that_somebody_else_started_is_used_and_our_own_is_not(ray_session, monkeypatch):
    assert runs_here(1)
    monkeypatch.setattr(cluster_checks, "_own_session", None)
    assert not runs_here(1)


@pytest.fixture
def decoder():
    process = DecoderProcess()
    yield process
    process.kill()


def test_a_decoder_is_light_and_the_first_to_go_when_memory_runs_out(decoder):
    decoder.start(say_what_it_is)
    pid, oom_score_adj, modules = decoder.take()
    assert pid != os.getpid() and oom_score_adj == "1000"
    assert not {"torch", "lance", "ray", "diffusers", "transformers", "prefect"} & set(modules)
    assert decoder.has_ended()
    decoder.start(count_up, 3)
    assert [decoder.take() for _ in range(3)] == [0, 1, 2] and decoder.has_ended()


def test_what_a_generator_raises_is_raised_here(decoder):
    decoder.start(refuse)
    assert decoder.take() == 1
    with pytest.raises(ItemError, match=r"a\.mp4: is no video") as raised:
        decoder.take()
    assert raised.value.stage == "decode"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_dead_decoder_is_told_by_its_signal(how):
    decoder = DecoderProcess()
    decoder.start(die, int(how))
    assert decoder.take() == "before"
    with pytest.raises(EOFError):
        decoder.take()
    decoder.start(count_up, 1)  # nobody is there
    assert not decoder.has_ended() and decoder.how_it_died() == how.name


def test_a_decoder_that_cannot_start_is_no_fault_of_a_file(monkeypatch, tmp_path, capfd):
    (tmp_path / "av").mkdir()
    (tmp_path / "av" / "__init__.py").write_text("raise ImportError('libav is broken')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    decoder = DecoderProcess()
    decoder.start(count_up, 1)
    with pytest.raises(EOFError):
        decoder.take()
    with pytest.raises(RequestError, match="exit code 1"):
        decoder.how_it_died()
    assert "libav is broken" in capfd.readouterr().err


def test_decoders_end_with_whoever_started_them():
    program = (
        "import os, sys\n"
        "from tasks.ingest.decoder_process import DecoderProcess\n"
        "from tests.decoder_children import sleep_on\n"
        "decoder = DecoderProcess()\n"
        "decoder.start(sleep_on)\n"
        "decoder.take()\n"
        "print(decoder._process.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    try:
        psutil.Process(int(done.stdout)).wait(10)
    except psutil.NoSuchProcess:
        return


def test_a_row_whose_decoder_dies_stays_as_it_is(folder, corpora, tiny_profile, monkeypatch):
    """Frames are made again in a decoder's process too, and the command outlives that."""
    recipe = keep_all(tiny_profile)
    row = dict.fromkeys(COLUMNS, "x") | {"video": b"no mp4 at all", "source_uri": "a.mp4"}
    with LocalWorkers(recipe, Digests.of(recipe)) as workers:
        executor = workers.executor(1)
        with pytest.raises(ItemError):
            executor._frames(row, None)
        process = executor._new_process()
        executor._idle[:] = [process]
        process.start(die, int(signal.SIGSEGV))
        assert process.take() == "before"
        with pytest.raises(ItemError, match=r"a\.mp4: its decoder died \(SIGSEGV\)"):
            executor._frames(row, None)
        with pytest.raises(ItemError):  # the next one has a new decoder
            executor._frames(row, None)
