"""Who may import whom: flows -> tasks -> {vidrd_model, storage}; infra holds data only.

One module is for all: `vidrd_model.errors`, with the base of all errors.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Per package: those of ours that it may import, and the libraries that only others may know.
MAY_IMPORT = {
    "vidrd_model": {"vidrd_model"},
    "storage": {"storage"},
    "tasks": {"tasks", "vidrd_model", "storage"},
    "flows": {"flows", "tasks", "vidrd_model", "storage"},
}
MAY_NOT_KNOW = {
    "vidrd_model": {"prefect", "ray", "lance", "mlflow", "pyarrow"},
    "storage": {"prefect", "ray", "diffusers", "open_clip", "torch"},
    "tasks": {"prefect", "lance", "mlflow"},
    "flows": {"ray", "lance", "mlflow", "diffusers", "open_clip"},
}
FOR_ALL = "vidrd_model.errors"
# Not a module of the project: MLflow copies it into every registered version and runs it there.
RUN_ELSEWHERE = {Path("storage/registry/pyfunc_model.py")}
# One module stands between the project and a library that is no longer maintained.
ONLY_IN = {"ffmpeg": Path("tasks/clips/ffmpeg.py"), "imageio_ffmpeg": Path("tasks/clips/ffmpeg.py")}


def _imports(path: Path) -> set[str]:
    """The top-level names a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module not in (None, FOR_ALL):
            names.add(node.module.split(".")[0])
    return names


def _sources(package: str) -> list[Path]:
    found = [path for path in (ROOT / package).rglob("*.py") if path.relative_to(ROOT) not in RUN_ELSEWHERE]
    assert found, f"{package} holds no Python files"
    return sorted(found)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_packages_import_only_what_lies_below_them(package):
    ours = set(MAY_IMPORT) | {"infra", "tests"}
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in _sources(package)
        for name in sorted(_imports(path) & (ours - MAY_IMPORT[package]))
    ]
    assert not wrong, wrong


@pytest.mark.parametrize("package", MAY_NOT_KNOW)
def test_libraries_stay_where_they_belong(package):
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in _sources(package)
        for name in sorted(_imports(path) & MAY_NOT_KNOW[package])
    ]
    assert not wrong, wrong


def test_the_ffmpeg_binary_has_one_user():
    users = {
        name: {
            path.relative_to(ROOT)
            for package in MAY_IMPORT
            for path in _sources(package)
            if name in _imports(path)
        }
        for name in ONLY_IN
    }
    assert users == {name: {path} for name, path in ONLY_IN.items()}


def test_charts_and_pages_are_drawn_in_one_folder():
    """What measures knows nothing of pages and loads no drawing library."""
    knowing = {
        path.relative_to(ROOT).parts[:2]
        for package in MAY_IMPORT
        for path in _sources(package)
        if {"matplotlib", "jinja2"} & _imports(path)
        or (package == "tasks" and "tasks.pages" in path.read_text(encoding="utf-8"))
    }
    assert knowing == {("tasks", "pages")}


def test_errors_cost_no_import_of_a_library():
    """Every layer and command imports them, refusals that take a second among them."""
    program = (
        "import sys, vidrd_model.errors, storage.errors, tasks.errors\n"
        "heavy = {'torch', 'diffusers', 'ray', 'prefect', 'lance', 'mlflow', 'numpy', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "from vidrd_model import ModelError, VidrdError\n"
        "assert issubclass(ModelError, VidrdError) and issubclass(storage.errors.StorageError, VidrdError)\n"
        "assert 'torch' not in sys.modules\n"
        "from vidrd_model import *\n"
        "assert VidRDPipeline.__module__ == 'vidrd_model.pipeline' and 'torch' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_a_process_that_knows_the_pipeline_alone_loads_a_model_folder():
    """diffusers imports no module because a folder names it: the pipeline's has to bring those of its parts."""
    program = (
        "from vidrd_model.pipeline import VidRDPipeline\n"
        "pipe = VidRDPipeline.from_pretrained('infra/profiles/tiny/model')\n"
        "assert type(pipe.vae).__name__ == 'TemporalVAE' and type(pipe.unet).__name__ == 'TemporalUNet'\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_a_name_that_the_library_lacks_is_an_attribute_error():
    import vidrd_model

    assert not hasattr(vidrd_model, "TemporalUnet") and "TemporalUNet" in dir(vidrd_model)


def test_infra_holds_no_code_of_the_package():
    assert not list((ROOT / "infra").rglob("*.py"))
