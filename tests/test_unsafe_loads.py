"""No line of the project loads a file in a way that could run what is in it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("vidrd_model", "storage", "tasks", "flows", "infra", "tests/bench")

# Modules that rebuild whatever objects a file asks for, and who may use them all the same.
PICKLERS = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "jsonpickle"}
OWN_UNPICKLER = "vidrd_model/metrics/i3d_convert.py"  # knows numpy's arrays and refuses every other name
# Files that import modules by names that stand in the project.
IMPORT_BY_NAME = {
    "vidrd_model/lazy.py",
    "flows/cli/command.py",
    "flows/runs/recorded.py",
    "storage/local/databases.py",
    "tests/bench/__main__.py",
    "tests/bench/gpu/__main__.py",
}

NEVER = {
    "jit.load": "TorchScript is a program",
    "hub.load": "a repository's hubconf.py is run",
    "load_state_dict_from_url": "torch.hub unpickles freely",
    "pyfunc.load_model": "a registered model's code is run",
    "read_pickle": "unpickles freely",
    "LearnedPerceptualImagePatchSimilarity": "reads its backbone through torch.hub",
    "os.system": "a shell",
}
MUST_SAY = {
    "torch.load": ("weights_only", True),
    "open_clip.create_model": ("weights_only", True),
    "AutoConfig.from_pretrained": ("trust_remote_code", False),
    "AutoTokenizer.from_pretrained": ("trust_remote_code", False),
    "AutoModel.from_pretrained": ("trust_remote_code", False),
    "AutoProcessor.from_pretrained": ("trust_remote_code", False),
    "AutoImageProcessor.from_pretrained": ("trust_remote_code", False),
    "AutoModelForImageClassification.from_pretrained": ("trust_remote_code", False),
    "AutoModelForImageTextToText.from_pretrained": ("trust_remote_code", False),
}
MAY_ONLY_SAY = {"allow_pickle": False, "trust_remote_code": False, "weights_only": True, "shell": False}
MAY_NOT_SAY = {"custom_pipeline"}


def unsafe(source: str, path: str = "new.py") -> Iterator[str]:
    """What in a file's source could run code that comes from elsewhere, by line."""
    for node in ast.walk(ast.parse(source)):
        for problem in _problems(node, path):
            yield f"{path}:{getattr(node, 'lineno', 0)}: {problem}"


def _problems(node: ast.AST, path: str) -> Iterator[str]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        for name in names:
            if name.split(".")[0] in PICKLERS and path != OWN_UNPICKLER:
                yield f"imports {name}"
    if not isinstance(node, ast.Call):
        return
    called = ast.unparse(node.func)
    said = {keyword.arg: keyword.value for keyword in node.keywords}
    for name, why in NEVER.items():
        if called == name or called.endswith(f".{name}"):
            yield f"{called}: {why}"
    for name, (option, value) in MUST_SAY.items():
        if (called == name or called.endswith(f".{name}")) and not _is(said.get(option), value):
            yield f"{called} without {option}={value}"
    for option, value in MAY_ONLY_SAY.items():
        if option in said and not _is(said[option], value):
            yield f"{called} with another {option} than {value}"
    for option in MAY_NOT_SAY & set(said):
        yield f"{called} with {option}"
    if called in ("eval", "exec") or (
        called.split(".")[-1] == "import_module" and path not in IMPORT_BY_NAME
    ):
        yield called


def _is(node: ast.expr | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def test_nothing_loads_what_could_run() -> None:
    files = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    assert len(files) > 200
    found = [
        problem
        for path in files
        for problem in unsafe(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix())
    ]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=safe)",
        "torch.jit.load(path)",
        "torch.hub.load('org/repo', 'model')",
        "torch.hub.load_state_dict_from_url(url)",
        "import pickle",
        "from cloudpickle import loads",
        "import joblib",
        "np.load(path, allow_pickle=True)",
        "AutoModel.from_pretrained(name)",
        "transformers.AutoTokenizer.from_pretrained(name, trust_remote_code=True)",
        "CLIPModel.from_pretrained(name, trust_remote_code=trust)",
        "DiffusionPipeline.from_pretrained(name, custom_pipeline=other)",
        "open_clip.create_model(name)",
        "mlflow.pyfunc.load_model(uri)",
        "pd.read_pickle(path)",
        "LearnedPerceptualImagePatchSimilarity(net_type='vgg')",
        "importlib.import_module(config['library'])",
        "subprocess.run(line, shell=True)",
        "eval(text)",
    ],
)
def test_each_kind_is_found(line: str) -> None:
    assert list(unsafe(line))


def test_what_is_safe_is_let_pass() -> None:
    for line in (
        "torch.load(path, map_location='cpu', weights_only=True)",
        "np.load(path)",
        "np.load(path, allow_pickle=False)",
        "model.eval()",
        "subprocess.run(command)",
        "CLIPTextModel.from_pretrained(name)",
    ):
        assert not list(unsafe(line))
