"""Paths that people type: `~` and `$VARIABLES` wherever a path comes in, and a home that does not follow the folder."""

import importlib
import os
import pkgutil
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

import flows
import tasks
from flows.profile import PROFILES_DIR, load_profile
from storage.dataset.clip_dataset import ClipDataset
from storage.errors import StorageError
from storage.local.home import home, set_home
from storage.local.typed_fields import TypedPath
from storage.local.typed_paths import as_typed, expanded, typed_path
from tasks.corpora.config import load_corpora
from tasks.errors import RequestError

ROOT = Path(__file__).resolve().parents[1]
NAMES = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=30)


@given(NAMES)
def test_every_absolute_path_can_be_typed(name):
    assert expanded(as_typed(f"/{name}")) == f"/{name}"


@given(NAMES.filter(lambda name: "$" not in name and not name.startswith("~")))
def test_ordinary_paths_stay_as_they_are(name):
    assert expanded(name) == name


def test_a_tilde_and_variables_mean_what_a_shell_makes_of_them(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/a$b")
    monkeypatch.setenv("FOOTAGE", "~/$HOME")
    assert expanded("~") == "/home/a$b"
    assert expanded("~/x@build-0001") == "/home/a$b/x@build-0001"
    assert expanded("$FOOTAGE/${FOOTAGE}x$$FOOTAGE") == "~/$HOME/~/$HOMEx$FOOTAGE"
    assert expanded("a~b/5$/~") == "a~b/5$/~"
    assert expanded("~root/x") == "/root/x"
    assert expanded("./~") == "./~"


@pytest.mark.parametrize("text", ["$NOT_SET/x", "~/${NOT_SET}", "s3://bucket/$NOT_SET"])
def test_a_variable_that_is_not_set_is_named(text):
    with pytest.raises(ValueError, match="NOT_SET"):
        expanded(text)


def test_a_user_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match="'nobody-of-that-name'"):
        expanded("~nobody-of-that-name/x")


def _models() -> list[type[BaseModel]]:
    """Every pydantic model of the flows and tasks: parameters, settings, profiles, corpora."""
    for package in (flows, tasks):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    found = [BaseModel]
    for model in found:
        found += model.__subclasses__()
    return [model for model in found if model.__module__.split(".")[0] in ("flows", "tasks")]


def _bare_paths(annotation: Any, expands: bool) -> bool:
    """Whether an annotation holds a Path that takes text as it stands."""
    if annotation is Path:
        return not expands
    return any(_bare_paths(part, expands or annotation == TypedPath) for part in get_args(annotation))


def test_every_path_in_parameters_and_settings_is_a_typed_one():
    models = _models()
    assert {"BuildDatasetParams", "EvaluationSettings", "Profile"} <= {model.__name__ for model in models}
    bare = [
        f"{model.__module__}.{model.__name__}.{name}"
        for model in models
        for name, field in model.model_fields.items()
        if _bare_paths(field.annotation, any("_expand_text" in str(m) for m in field.metadata))
    ]
    # The corpora file expands its own, since an address is no path.
    assert bare == ["tasks.corpora.corpus.Corpus.path"]


def test_every_path_among_the_commands_options_is_a_typed_one():
    import typer.main

    from flows.cli.app import app

    waiting, parsers = [typer.main.get_command(app)], {}
    while waiting:
        command = waiting.pop()
        waiting += getattr(command, "commands", {}).values()
        for param in command.params:
            described = param.type_descriptor
            if described.annotation is Path:
                parsers[f"{command.name} {param.name}"] = described.parameter_info.parser
    assert len(parsers) >= 15
    assert set(parsers.values()) == {typed_path}, parsers


def vidrd(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name != "PREFECT_HOME"}
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments],
        env=inherited | {"VIDRD_HOME": str(cwd / "home"), "HOME": str(cwd)} | environment,
        cwd=cwd,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dataset", "info", "~/mine@build-0001"], "HOME/mine: is not a dataset"),
        (["dataset", "remove", "$HOME/mine", "--corpus=c"], "HOME/mine: is not a dataset"),
        (["retrain", "--dataset=~/mine@build-0001"], "HOME/mine: is not a dataset"),
        (["build-dataset", "--corpora=${HOME}/c.toml"], "HOME/c.toml: no such corpora file"),
        (["generate", "--prompts=~/p.txt"], "HOME/p.txt"),
        (["generate", "x", "--model=~/m"], "HOME/m: no model folder"),
        (["generate", "x", "--profile=~/p.toml"], "HOME/p.toml"),
        (["weights", "fetch", "i3d", "--file=~/i3d"], "HOME/i3d"),
        (["build-dataset", "--dataset", "$NOT_SET/x"], "'--dataset': the variable $NOT_SET is not set"),
        (["retrain", "--dataset", "$NOT_SET/x"], "dataset: the variable $NOT_SET is not set"),
    ],
    ids=" ".join,
)
def test_commands_read_typed_paths(arguments, said, tmp_path):
    done = vidrd(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said.replace("HOME", str(tmp_path)) in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.glob("~*")) and not list(tmp_path.glob("$*"))


def test_a_corpora_file_is_read_so_and_cells_of_its_tables_are_not(tmp_path, monkeypatch):
    from PIL import Image

    from tasks.corpora.readers import read_sources

    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (8, 8)).save(photos / "$NOT_SET.png")
    (photos / "manifest.tsv").write_text("file\tcaption\n$NOT_SET.png\t~ and $NOT_SET\n")
    table = '[[corpus]]\nname = "a"\nkind = "images"\nformat = "folder"\nlicence = "CC0-1.0"\npath = '
    corpora = tmp_path / "corpora.toml"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WHERE", "photos")
    for typed in ("~/photos", "$HOME/photos", "$WHERE", "file://$HOME/photos"):
        corpora.write_text(f'{table}"{typed}"\n')
        (corpus,) = load_corpora(corpora)
        assert corpus.path == photos
    (source,) = read_sources(corpus)
    assert source.uri.endswith("$NOT_SET.png") and "~ and $NOT_SET" in str(source)
    corpora.write_text(f'{table}"$NOT_SET/photos"\n')
    with pytest.raises(RequestError, match=r"corpora.toml.*'a'.*\$NOT_SET is not set"):
        load_corpora(corpora)


def test_a_profile_is_read_so(tmp_path, monkeypatch):
    # A checkout may lie anywhere, and paths that the program makes are nobody's to expand.
    shutil.copytree(PROFILES_DIR / "tiny", tmp_path / "a$b", copy_function=os.symlink)
    file = tmp_path / "a$b" / "profile.toml"
    text = file.read_text()
    file.unlink()
    monkeypatch.setenv("MODELS", "/models")
    for typed, meant in (
        ("./model", str(tmp_path / "a$b" / "model")),
        ("$MODELS/x", "/models/x"),
        ("~root/x", "/root/x"),
    ):
        file.write_text(text.replace('model = "./model"', f'model = "{typed}"'))
        assert load_profile(str(file)).model == meant
    file.write_text(text.replace('model = "./model"', 'model = "$NOT_SET/x"'))
    with pytest.raises(RequestError, match=r"profile.toml: model: .*\$NOT_SET is not set"):
        load_profile(str(file))


def test_the_home_is_a_typed_path_and_the_same_from_everywhere(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("VIDRD_HOME", "~/work/$USER_OF_TEST")
    with pytest.raises(StorageError, match=r"VIDRD_HOME: .*\$USER_OF_TEST is not set"):
        home()
    monkeypatch.setenv("USER_OF_TEST", "a$b")
    assert home() == tmp_path / "work" / "a$b"
    set_home(home())
    assert home() == tmp_path / "work" / "a$b"
    monkeypatch.setenv("VIDRD_HOME", "s3://bucket/home")
    with pytest.raises(StorageError, match="VIDRD_HOME: s3://bucket/home is an address"):
        home()


def test_without_a_home_the_checkouts_runs_is_taken_wherever_one_stands(tmp_path, monkeypatch):
    monkeypatch.delenv("VIDRD_HOME")
    monkeypatch.chdir(tmp_path)
    assert home() == ROOT / "runs"


@pytest.mark.parametrize("kind", ["installed", "not writable"])
def test_where_the_checkout_is_none_or_cannot_be_written_the_users_data_folder_is_taken(kind, tmp_path):
    """The package is imported from a copy: without pyproject.toml as an installed one, or with nothing to write in."""
    copy = tmp_path / "copy"
    for name in ("flows", "storage", "tasks"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    if kind == "not writable":
        shutil.copy(ROOT / "pyproject.toml", copy)
        (copy / "runs").write_text("no folder")  # nothing can be made in it, not even by root
    program = "from storage.local.home import home; print(home())"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(copy), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=copy, env=environment, capture_output=True, text=True
    )
    assert done.stdout.strip() == str(tmp_path / ".local/share/vidrd"), done.stderr


def test_what_is_not_found_is_told_with_the_place_that_was_looked_at(tmp_home, tmp_path, monkeypatch):
    from storage.registry.registry import resolve_model

    monkeypatch.chdir(tmp_path)
    with pytest.raises(StorageError, match=f"{tmp_path}/datasets/mine: is not a dataset"):
        ClipDataset.open("datasets/mine")
    with pytest.raises(StorageError, match=f"'candidate' at sqlite:///{tmp_home}/mlflow"):
        resolve_model("models:/vidrd@candidate")
