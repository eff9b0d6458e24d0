"""Model folders that say how they are sampled, or nothing of it, as those from before they could."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any


def without_saved_settings(model: Path, folder: Path) -> Path:
    """A copy of a model folder as it was written before settings were saved with models."""
    return with_saved_settings(model, folder, {})


def with_saved_settings(model: Path, folder: Path, sampling: Any, **others: Any) -> Path:
    """A copy of a model folder with these settings in place of its own; `others` are the pipeline's."""
    shutil.copytree(model, folder)
    index = json.loads((folder / "model_index.json").read_text()) | others
    index.pop("sampling", None)
    (folder / "model_index.json").write_text(json.dumps(index | ({"sampling": sampling} if sampling else {})))
    return folder
