"""What the documents point at is there: tests, source files, other documents."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "tests/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
PACKAGES = ("flows", "tasks", "vidrd_model", "storage", "infra", "tests")

MADE_BY_USERS = {"infra/.env", "infra/profiles/NAME/profile.toml"}

_TEST = re.compile(r"`(test_\w+)(?:::(\w+))?`")
_FILE = re.compile(rf"`((?:{'|'.join(PACKAGES)})/[\w/.-]+)`")
_LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_document_names_only_what_exists(document):
    text = document.read_text(encoding="utf-8")
    missing = [
        f"{file}::{name}" if name else file for file, name in _TEST.findall(text) if not _holds(file, name)
    ]
    missing += [
        name for name in _FILE.findall(text) if name not in MADE_BY_USERS and not (ROOT / name).exists()
    ]
    missing += [link for link in _LINK.findall(text) if not (document.parent / link).exists()]
    assert not missing


def _holds(file: str, name: str) -> bool:
    path = ROOT / "tests" / f"{file}.py"
    return path.is_file() and (not name or f"def {name}(" in path.read_text(encoding="utf-8"))
