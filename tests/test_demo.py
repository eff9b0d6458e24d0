"""The demo: what a watcher reads, what a failure says, and (slow) the whole job on an empty home."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.demo.stages import MemoryWatch, StageFailed, StageLog, memory_of_family

PROJECT = Path(__file__).resolve().parents[1]


def test_a_watcher_reads_which_stage_of_how_many_and_what_came_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = StageLog(2)
    for name in ("first", "second"):
        with log.stage(name, f"about the {name}") as out:
            out.append(f"{name} came out")
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "[1/2] first  about the first" and told[1].strip() == "first came out"
    assert told[3] == "[2/2] second  about the second"
    assert list(log.seconds) == ["first", "second"]


def test_a_failing_stage_is_one_line_and_is_not_counted() -> None:
    log = StageLog(2)
    with pytest.raises(StageFailed) as caught, log.stage("first", ""):
        raise ValueError("the reason\nand a traceback's worth of detail")
    assert str(caught.value) == "stage 1/2 (first): the reason"
    assert log.seconds == {}


def test_memory_counts_child_processes() -> None:
    alone = memory_of_family()
    code = "x = bytearray(200_000_000); print(len(x), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        child.stdout.readline()
        with MemoryWatch() as watch:
            pass
        child.stdin.write(b"\n")
    assert watch.peak_bytes > alone + 150_000_000


@pytest.mark.slow
def test_a_failing_demo_says_one_line_and_leaves_no_old_result(tmp_path: Path) -> None:
    world = tmp_path / "demo" / "tiny-world"
    world.mkdir(parents=True)
    (world / "mine.txt").write_text("not a tiny world")
    (tmp_path / "demo" / "demo.json").write_text("{}")
    done = _demo(tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "(tiny world)" in done.stderr
    assert not (tmp_path / "demo" / "demo.json").exists()
    assert "Traceback" in (tmp_path / "demo" / "demo.log").read_text()


@pytest.fixture(scope="module")
def demo_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the demo has been run once, with success."""
    home = tmp_path_factory.mktemp("demo-home")
    first = _demo(home)
    assert first.returncode == 0, first.stderr
    return home


@pytest.mark.slow
def test_the_gate_accepts_the_candidate_on_five_seeds(
    demo_home: Path, ray_session: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other prompts, noise and real clips, the same model: its floors do not hang on the luck of one draw."""
    from flows.profile import load_profile
    from storage.registry.registry import resolve_model
    from tasks.evaluation.evaluate import evaluate_model
    from tasks.evaluation.gate import decide
    from tasks.evaluation.protocols import find_protocol
    from tasks.evaluation.workers import MeasuringPool

    monkeypatch.setenv("VIDRD_HOME", str(demo_home / "demo"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    profile, folder = load_profile("tiny"), resolve_model("models:/vidrd/1").folder
    reference = demo_home / "demo" / "tiny-world" / "reference"
    for seed in range(5):
        settings = profile.evaluation.model_copy(update={"seed": seed})
        with MeasuringPool(videos=settings.num_videos) as pool:
            found = evaluate_model(folder, reference, profile.clip, settings, profile.sampling, pool)
        protocol = find_protocol(settings.protocol)
        decision = decide(found.features, None, found.reference, protocol, settings.gate)
        assert decision.promote, (seed, decision.reason)


@pytest.mark.slow
def test_the_whole_job_on_an_empty_home_and_once_more(demo_home: Path) -> None:
    summary = _check_outcome(demo_home / "demo")
    assert summary["builds"]["build-dataset"]["encoded"] > 0
    assert summary["promotion"]["promoted"] and summary["model"]["alias"] == "champion"
    assert sorted(path.name for path in demo_home.iterdir()) == ["demo"], "all it makes lies in one folder"

    again = _demo(demo_home)
    assert again.returncode == 0, again.stderr
    summary = _check_outcome(demo_home / "demo")
    assert summary["builds"]["build-dataset"]["encoded"] == 0
    assert summary["model"]["version"] == 2 and summary["promotion"]["champion"] in (1, 2)


def _check_outcome(folder: Path) -> dict:
    summary = json.loads((folder / "demo.json").read_text())
    assert summary["clips_per_kind"].keys() == {"images", "short-videos", "long-videos"}
    assert summary["rejected_by_reason"] and summary["quarantined"] == 5
    assert summary["builds"]["build-dataset again"]["encoded"] == 0
    assert summary["last_training_loss"] is not None and summary["dataset"]["tag"]
    held_out = summary["held_out_loss"]["temporal"]
    assert held_out["candidate"] < held_out["fresh"]
    assert summary["clip_filter"]["share_wrong_rejected"] >= 0.90
    assert summary["clip_filter"]["share_right_kept"] >= 0.85
    assert all({"value", "protocol", "n"} <= metric.keys() for metric in summary["metrics"].values())
    assert len(summary["seconds_per_stage"]) == 9
    assert summary["peak_memory_bytes"] < 6e9
    for sample in summary["samples"]:
        assert (folder / sample["file"]).is_file() and (folder / sample["contact_sheet"]).is_file()
        assert sample["frames"] == 22
    assert 50_000 < (folder / "report.html").stat().st_size < 6_000_000
    return summary


def _demo(home: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "VIDRD_HOME": str(home)}
    return subprocess.run(
        [sys.executable, "-m", "flows.demo"], cwd=PROJECT, env=environment, capture_output=True, text=True
    )
