"""Own footage on a profile that knows drawings alone: said in the first second, and again where nothing was kept."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from flows.own_footage import note_on_own_footage, print_note_on_own_footage
from flows.profile import PROFILES_DIR, load_profile
from flows.profile_choice import ProfileParams
from tests.build_world import small_world


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A corpora file of somebody's photos."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"not looked into so early")
    lines = ["[[corpus]]", 'name = "mine"', 'kind = "images"', 'format = "folder"', 'path = "photos"']
    (tmp_path / "mine.toml").write_text("\n".join([*lines, 'licence = "own"']))
    return tmp_path / "mine.toml"


@pytest.mark.parametrize("command", [["build-dataset"], ["dataset", "plan"]], ids=" ".join)
def test_it_is_the_first_line_within_a_second(command, own, tmp_path):
    environment = os.environ | {"VIDRD_HOME": str(tmp_path / "home")}
    arguments = [sys.executable, "-m", "flows.cli", *command, "--corpora", str(own)]
    with subprocess.Popen(
        arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        # Of its own time: what a busy machine gives it is another matter.
        times = psutil.Process(process.pid).cpu_times()
        process.kill()
    assert line.startswith("note: the profile tiny is made for small drawings of coloured shapes")
    assert "--profile sd21" in line and times.user + times.system < 1.0


def test_it_is_said_of_own_media_only_and_of_profiles_made_for_something(own, tmp_path, tiny_profile):
    world = small_world(tmp_path / "world", 1, 1, 1, 1)
    assert note_on_own_footage(tiny_profile, own) is not None
    assert note_on_own_footage(tiny_profile, tmp_path / "photos") is not None
    for theirs in (world, world.parent / "reference", None):
        assert note_on_own_footage(tiny_profile, theirs) is None
    assert note_on_own_footage(load_profile("sd21"), own) is None
    copy = tmp_path / "copy.toml"
    copy.write_text((PROFILES_DIR / "tiny" / "profile.toml").read_text().replace('"tiny"', '"copied"', 1))
    note = note_on_own_footage(load_profile(str(copy)), own)
    assert note is not None and note.startswith("the profile copied is made for")


def test_a_dataset_says_by_itself_which_profile_and_which_media_are_its_own(own, tmp_path, capsys):
    from storage.dataset.builds import finished_builds, write_index
    from tests.dataset_rows import clip_row, commit, source_row

    commit(tmp_path / "d", [clip_row("a")], sources=[source_row("a")])
    print_note_on_own_footage(None, ProfileParams(), tmp_path / "d")
    assert capsys.readouterr().err == ""
    (build,) = finished_builds(tmp_path / "d")
    build.summary.update(profile="tiny", corpora=str(own))
    write_index(tmp_path / "d", [build])
    print_note_on_own_footage(None, ProfileParams(), tmp_path / "d")
    assert capsys.readouterr().err.startswith("note: the profile tiny is made for")
