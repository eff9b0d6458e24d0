"""Attacks a build from outside: files that hang or kill their workers, a disk that fills up."""

import os
import signal
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from storage.dataset.clip_dataset import ClipDataset
from storage.errors import StorageError
from tasks.clips.video_io import encode
from tasks.ingest.recipe import Digests, Recipe
from tasks.tiny.world.drawing import Scene, draw_clip
from tasks.tiny.world.media import write_image
from tests.build_world import LocalWorkers, all_rows, build, keep_all, small_world

FILM_S = 240


@pytest.fixture(
    scope="module",
    params=[pytest.param("on Ray", marks=[pytest.mark.slow, pytest.mark.gate]), "in this process"],
)
def workers(request, tiny_profile):
    """Those of a large build, and those of a small one: both are attacked alike."""
    if request.param == "on Ray":
        yield request.getfixturevalue("workers_on_ray")
        return
    recipe = tiny_profile.recipe()
    with LocalWorkers(recipe, Digests.of(recipe)) as local:
        yield local


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    """The corpora file of one long film without cuts, which takes long to decode, and of one image."""
    folder = tmp_path_factory.mktemp("film")
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (8, 360, 640, 3)).astype(np.uint8)  # noise is the dearest to decode
    (folder / "films").mkdir()
    encode(
        folder / "films" / "film.mp4",
        (frames[i % 8] for i in range(8 * FILM_S)),
        8.0,
        options={"preset": "ultrafast"},
    )
    (folder / "films" / "film.txt").write_text("noise")
    (folder / "images").mkdir()
    write_image(folder / "images" / "red.png", draw_clip(Scene("red", "circle", "left"), rng)[0])
    (folder / "images" / "red.txt").write_text("a red circle")
    tables = [("films", "long-videos"), ("images", "images")]
    corpora = folder / "corpora.toml"
    corpora.write_text(
        "".join(
            f'[[corpus]]\nname = "{name}"\nkind = "{kind}"\nformat = "folder"\n'
            f'path = "{name}"\nlicence = "CC0-1.0"\n'
            for name, kind in tables
        )
    )
    return corpora


def _one_long_shot(recipe: Recipe) -> Recipe:
    return replace(recipe, clips=recipe.clips.model_copy(update={"max_shot_s": 2.0 * FILM_S}))


def _quarantine(dataset: Path) -> dict[str, dict]:
    return {row["source_uri"]: row for row in ClipDataset.open(dataset).info()["quarantine"]}


@pytest.mark.slow
@pytest.mark.gate
def test_a_source_that_gives_nothing_for_too_long_is_stopped(film, tmp_path, tiny_profile, workers):
    recipe = _one_long_shot(keep_all(tiny_profile, source_timeout_s=1.0))
    summary = build(film, tmp_path / "d", recipe, workers=workers)
    assert (summary.quarantined, summary.dataset_clips) == (1, 1)
    row = _quarantine(tmp_path / "d")["film.mp4"]
    assert (row["stage"], row["error"]) == ("decode", "film.mp4: gave no clip within 1 s")
    assert not _decoders(film)


def _decoders(corpora: Path) -> list[psutil.Process]:
    """Workers that have the film open."""
    found = []
    for process in psutil.process_iter():
        try:
            if any(file.path.startswith(str(corpora.parent)) for file in process.open_files()):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.slow
@pytest.mark.gate
def test_a_file_that_kills_its_workers_is_tried_three_times_and_goes_through_later(
    film, tmp_path, tiny_profile, workers
):
    recipe = _one_long_shot(keep_all(tiny_profile))
    stop, killed = threading.Event(), set()

    def kill() -> None:
        while not stop.wait(0.05):
            for process in _decoders(film):
                if process.pid != os.getpid() and process.pid not in killed:
                    killed.add(process.pid)
                    process.send_signal(signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        summary = build(film, tmp_path / "d", recipe, workers=workers)
    finally:
        stop.set()
        killer.join()
    assert summary.quarantined >= 1 and len(killed) >= 3
    row = _quarantine(tmp_path / "d")["film.mp4"]
    assert (row["stage"], row["attempts"]) == ("decode", 3) and "its worker died 3 times" in row["error"]
    summary = build(film, tmp_path / "d", recipe, retry_quarantine=True, workers=workers)
    assert summary.quarantined == 0 and not _quarantine(tmp_path / "d")
    assert {row["source_uri"] for row in all_rows(tmp_path / "d").values()} == {"film.mp4", "red.png"}


def test_a_full_disk_loses_nothing(tmp_path, tiny_profile, workers):
    corpora = small_world(tmp_path / "world", images=4, short_videos=8, class_videos=4, long_videos=2)
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk takes a user who may")
    try:
        recipe = keep_all(tiny_profile, commit_rows=4)
        with pytest.raises(StorageError, match="cannot be written") as raised:
            build(corpora, disk / "d", recipe, workers=workers)
        assert "\n" not in str(raised.value)
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        summary = build(corpora, disk / "d", recipe, workers=workers)
        assert 0 < summary.skipped < summary.read
        build(corpora, tmp_path / "undisturbed", recipe, workers=workers)
        assert all_rows(disk / "d") == all_rows(tmp_path / "undisturbed")
    finally:
        subprocess.run(["umount", str(disk)], check=True)
