"""`vidrd profile list | show | new`: what a profile says, whose each value is, and a file over one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flows.profile import Profile, load_profile
from flows.settings.keys import leaf_keys
from flows.settings.listing import known_profiles
from flows.settings.new import write_new_profile
from flows.settings.text import rows
from tasks.errors import RequestError

KEYS = [key for key, _ in leaf_keys(Profile)]


@pytest.mark.parametrize("base", ["tiny", "sd21"])
def test_a_new_file_changes_nothing_until_a_line_is_uncommented(
    base: str, tmp_path: Path, tmp_home: Path
) -> None:
    usual = load_profile(base)
    path = tmp_path / "in" / "mine.toml"
    new = write_new_profile(path, base, {})
    assert new.model_dump() == usual.model_dump() | {"name": "mine"}
    assert [row["from"] for row in rows(new) if row["key"] != "name"] == [
        row["from"] for row in rows(usual) if row["key"] != "name"
    ]
    path.write_text(re.sub(r"(?m)^#(?=\w+ = )", "", path.read_text()))
    uncommented = load_profile(str(path))
    assert uncommented.model_dump() == new.model_dump()
    assert {row["from"] for row in rows(uncommented)} == {str(path)}


def test_every_key_stands_in_it_with_what_it_is(tmp_path: Path, tmp_home: Path) -> None:
    write_new_profile(tmp_path / "mine.toml", "sd21", {})
    section, said = "", set()
    text = (tmp_path / "mine.toml").read_text()
    for line in text.splitlines():
        if match := re.fullmatch(r"\[(.+)\]", line):
            section = f"{match[1]}."
        elif match := re.match(r"#?(\w+) = ", line):
            said.add(f"{section}{match[1]}")
    assert said == {*KEYS, "extends"}
    for _, field in leaf_keys(Profile):
        assert not field.description or field.description.split()[0] in text


def test_what_is_set_is_in_force_in_it(tmp_path: Path, tmp_home: Path) -> None:
    given = {"temporal.lr": "1e-5", "filter.min_motion": "none", "temporal.mix": {"images": 1.0}}
    new = write_new_profile(tmp_path / "mine.toml", "sd21", given)
    assert new.temporal.lr == 1e-5 and new.filter.min_motion is None and new.temporal.mix == {"images": 1.0}
    assert load_profile("mine").origin("temporal.lr") == str(tmp_path / "mine.toml"), "its name is enough"
    second = write_new_profile(tmp_path / "sub" / "second.toml", "mine", {})
    assert second.temporal.lr == 1e-5
    assert 'extends = "../mine.toml"' in (tmp_path / "sub" / "second.toml").read_text()


def test_what_is_there_stays(tmp_path: Path, tmp_home: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("mine")
    for file, base, changes, said in (
        (path, "tiny", {}, "--force"),
        (tmp_path / "x.txt", "tiny", {}, "must end in .toml"),
        (tmp_path / "tiny.toml", "sd21", {}, "name of a shipped profile"),
        (tmp_path / "new.toml", "tinny", {}, "did you mean tiny"),
        (tmp_path / "new.toml", "tiny", {"lr": 1}, "did you mean temporal.lr"),
        (tmp_path / "new.toml", "tiny", {"temporal.lr": 0}, "temporal.lr"),
        (path / "new.toml", "tiny", {}, "is a file"),
    ):
        with pytest.raises(RequestError, match=re.escape(said)):
            write_new_profile(file, base, changes)
    assert path.read_text() == "mine" and [*tmp_path.iterdir()] == [path]
    assert write_new_profile(path, "tiny", {}, force=True).name == "mine"


def test_profiles_known_by_name_are_listed_also_when_they_are_broken(tmp_path: Path, tmp_home: Path) -> None:
    write_new_profile(tmp_path / "mine.toml", "sd21", {})
    shown = {told["name"]: told for told in known_profiles()}
    assert [*shown] == ["sd21", "tiny", "mine"]
    assert shown["mine"]["from"] == str(tmp_path / "mine.toml")
    assert shown["tiny"]["clips"] == "8 frames of 64x64 at 8 fps"
    (tmp_path / "mine.toml").write_text("[temporal\n")
    assert "not a TOML file" in known_profiles()[2]["problem"]


def test_all_values_are_shown_with_whose_they_are(tmp_home: Path) -> None:
    shown = {row["key"]: row for row in rows(load_profile("sd21", {"temporal.lr": "1e-5"}))}
    assert [*shown] == KEYS
    assert (shown["temporal.lr"]["value"], shown["temporal.lr"]["from"]) == (1e-5, "--set")
    assert (shown["sampling.negative_prompt"]["value"], shown["sampling.seam"]["from"]) == (
        "watermark",
        "default",
    )
    assert shown["evaluation.gate.min_videos"]["value"] == 8
