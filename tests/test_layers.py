"""Who may import whom, and where in a file: flows -> tasks -> {vidrd_model, storage}; infra holds data only.

One module is for all: `vidrd_model.errors`, with the base of all errors. Imports stand at the top of a file, but what
the command line and the parameters of a flow reach imports nothing heavy there.
"""

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

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
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_all_names_of_the_library_are_there():
    names: dict[str, Any] = {}
    exec("from vidrd_model import *", names)
    assert names["VidRDPipeline"].__module__ == "vidrd_model.pipeline"


@pytest.mark.slow
@pytest.mark.gate
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
    """But for what names the classes of a model folder, which diffusers looks for beside the weights."""
    assert not [path for path in (ROOT / "infra").rglob("*.py") if "model" not in path.parts]


HEAVY = {
    *("torch", "diffusers", "transformers", "open_clip", "ray", "prefect", "lance", "mlflow", "pyarrow"),
    *("av", "cv2", "pandas", "matplotlib", "scipy", "sklearn"),
}
LIGHT = [
    "flows/cli/*.py",
    "flows/*/request.py",
    "flows/profile.py",
    "tasks/*/settings.py",
    "storage/local/*.py",
]


def test_what_a_refusal_needs_imports_nothing_heavy():
    """In one process, so that it takes a second: whatever comes in is told with the module that brought it."""
    files = [path.relative_to(ROOT) for pattern in LIGHT for path in sorted(ROOT.glob(pattern))]
    names = [".".join(path.with_suffix("").parts) for path in files if not path.name.startswith("__")]
    program = (
        "import importlib, sys\n"
        f"for name in {names!r}:\n"
        "    before = set(sys.modules)\n"
        "    importlib.import_module(name)\n"
        f"    for heavy in sorted({HEAVY!r} & (set(sys.modules) - before)):\n"
        "        print(name, heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not done.stdout, f"a module and what it brings:\n{done.stdout}"


def test_a_help_page_waits_for_no_library_that_a_command_needs():
    """Pydantic alone would double what `vidrd --help` costs."""
    program = (
        "import sys, flows.cli.app\n"
        f"brought = {{'pydantic', 'psutil', 'rich', 'numpy'}} | {HEAVY!r}\n"
        "assert not brought & set(sys.modules), brought & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


_COMMAND = (
    "a command imports what it needs once it is chosen: --help and a wrong option cost a tenth of a second"
)
_ASKED_LAST = "Lance, MLflow, Ray and torch are asked after all light refusals"
_IN_A_RUN = "the command line imports this file too; Prefect comes in where there is a run of it"
_IN_PREFECT = "Prefect is just being imported when the plugin calls this"
_PREFECT_SETTINGS = "Prefect reads its settings when it is imported, after these have been set"
INSIDE = {
    "flows/cli/build_dataset.py": _COMMAND,
    "flows/cli/answer.py": _COMMAND,
    "flows/cli/app.py": _COMMAND,
    "flows/cli/common.py": _COMMAND,
    "flows/cli/completion.py": _COMMAND,
    "flows/cli/command.py": _COMMAND,
    "flows/cli/dataset.py": _COMMAND,
    "flows/cli/demo.py": _COMMAND,
    "flows/cli/doctor.py": _COMMAND,
    "flows/cli/evaluation.py": _COMMAND,
    "flows/cli/profile.py": _COMMAND,
    "flows/cli/services.py": _COMMAND,
    "flows/cli/training.py": _COMMAND,
    "flows/cli/weights.py": _COMMAND,
    "flows/ablate/request.py": _ASKED_LAST,
    "flows/build_dataset/request.py": _ASKED_LAST,
    "flows/dataset/request.py": _ASKED_LAST,
    "flows/demo/job.py": "libraries read the environment of the demo when they are imported, after it has been set",
    "flows/evaluate/request.py": _ASKED_LAST,
    "flows/promote/request.py": _ASKED_LAST,
    "flows/retrain/request.py": _ASKED_LAST,
    "flows/doctor/machine.py": "what is asked of torch and Ray comes after all that needs neither",
    "flows/doctor/servers.py": "MLflow is asked last",
    "flows/dry_run.py": "each flow's request is told by what that flow needs",
    "flows/model.py": "MLflow and a hub are asked last, and not at all about a model that is a folder",
    "tasks/generation/made_of.py": "a video is read only where one is there already",
    "flows/generate/edit.py": "what decodes is for requests that edit a video",
    "flows/generate/going_on.py": "one of two ways to sample is imported, and each is heavy",
    "flows/generate/run.py": "one of two ways to sample is imported, and each is heavy",
    "flows/terminal.py": "rich is for styled lines alone",
    "flows/runs/artifacts.py": _IN_A_RUN,
    "flows/runs/failures.py": _IN_A_RUN,
    "flows/runs/server.py": "Prefect is asked only where a file of its settings may name a server",
    "flows/runs/cancelled_runs.py": _IN_PREFECT,
    "flows/runs/early_failures.py": _IN_PREFECT,
    "flows/runs/prefect_access.py": _IN_PREFECT,
    "flows/runs/prefect_plugin.py": _IN_PREFECT,
    "flows/up/prefect_app.py": _PREFECT_SETTINGS,
    "flows/up/run_processes.py": _PREFECT_SETTINGS,
    "flows/up/schedules.py": _PREFECT_SETTINGS,
    "flows/up/servers.py": _PREFECT_SETTINGS,
    "flows/up/stuck_runs.py": _PREFECT_SETTINGS,
    "storage/local/databases.py": "drivers of databases are optional, and SQLAlchemy is for their addresses alone",
    "storage/local/home.py": "asked only where the project is installed without a checkout beside it",
    "storage/registry/mlflow_server.py": "MLflow's server reads its settings when it is imported, after they are set",
    "tasks/captions/cut_captions.py": "lines about counts are for commands too; tokenizers are for who counts",
    "tasks/captions/writing.py": "most builds write no captions of their own, and need no transformers",
    "tasks/clips/detectors.py": "torch is for the detector that is a network",
    "tasks/clips/jpeg_xl.py": "an optional package",
    "tasks/clips/transnet.py": "an optional package",
    "tasks/corpora/hf.py": "an optional package",
    "tasks/ingest/decoder_process.py": "the child alone imports what decodes",
    "tasks/ingest/local_pool.py": "torch is imported while the decoders start",
    "tasks/filters/nudity.py": "packages that are optional, or that only one kind of detector needs",
    "tasks/filters/onnx_network.py": "an optional package",
    "tasks/ingest/recipe.py": "a profile is read without what measures",
    "tasks/ingest/pool.py": "the driver of a build loads no model",
    "tasks/ingest/run.py": "torch is for the shot detector that is a network",
    "tasks/ingest/workers.py": "of the two ways to build only the one in use is imported; with nothing to do neither",
    "tasks/evaluation/workers.py": "Ray is for evaluations of many videos",
    "tasks/model_files.py": "the hub and torch are for the few models and files that need them",
    "tasks/training/optimizers.py": "an optional package",
    "tasks/training/perceptual.py": "a second that every worker would pay, for weights that few have",
    "tasks/cluster_checks.py": "torch is asked only where a profile wants GPUs",
    "tasks/generation/on_ray.py": "imported by the workers, not by whoever asks them",
    "tasks/generation/video_on_workers.py": "imported by the workers, not by whoever asks them",
}
"""The files with imports inside functions, and why."""


def _imports_inside(path: Path) -> list[int]:
    """The lines of a file that import something within a function."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    return sorted(
        {
            node.lineno
            for function in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(function, functions)
            for node in ast.walk(function)
            if isinstance(node, (ast.Import, ast.ImportFrom))
        }
    )


def test_imports_stand_at_the_top_unless_there_is_a_reason():
    inside = {
        path.relative_to(ROOT).as_posix(): lines
        for package in MAY_IMPORT
        for path in _sources(package)
        if (lines := _imports_inside(path))
    }
    wrong = {name: lines for name, lines in inside.items() if name not in INSIDE}
    assert not wrong, wrong
    assert INSIDE.keys() <= inside.keys(), "a reason for nothing"
