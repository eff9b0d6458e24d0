"""What an earlier version of the project wrote, unpacked at another place: `earlier_versions/COMMIT.tar.xz`.

Each archive was made once by the commands of its commit: a dataset, a registry with a champion and its recorded
evaluation, and a training killed in the middle. It is never made again. Paths read `@ROOT@` in it, MLflow's database
is an SQL dump, and what that commit named by digests of its paths is named again by the rule that it had.
"""

import json
import sqlite3
import tarfile
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

ARCHIVES = Path(__file__).with_name("earlier_versions")
PLACE = "@ROOT@"
# Settings that bd6a85b left out of the digest of a training.
WITHOUT_EFFECT = {
    "num_workers", "use_gpu", "threads", "loader_workers", "checkpoints", "log_every", "checkpoint_every",
    "keep_checkpoints", "max_failures",
}  # fmt: skip


@dataclass(frozen=True)
class EarlierVersion:
    """The folders of an archive: `home` is its VIDRD_HOME, `longer` the profile of the training that was killed."""

    root: Path

    @property
    def home(self) -> Path:
        """The `$VIDRD_HOME` of its commands."""
        return self.root / "home"

    @property
    def dataset(self) -> Path:
        """14 sources of a small world."""
        return self.root / "dataset"

    @property
    def profile(self) -> Path:
        """The profile of the dataset and of version 1."""
        return self.root / "profile.toml"

    @property
    def longer(self) -> Path:
        """The same with 14 steps, of which 6 have been made."""
        return self.root / "longer.toml"


def unpack(commit: str, folder: Path) -> EarlierVersion:
    """The archive of a commit under `folder`, as its commands would have left it there."""
    with tarfile.open(ARCHIVES / f"{commit}.tar.xz") as archive:
        for member in archive:  # files and folders of ours; Python 3.11.2 has no filter for them yet
            archive.extract(member, folder)
    root = folder / commit
    for path in root.rglob("*"):
        if path.is_file() and PLACE.encode() in (content := path.read_bytes()):
            path.write_bytes(content.replace(PLACE.encode(), str(root).encode()))
    dump = root / "home" / "mlflow" / "mlflow.sql"
    with sqlite3.connect(dump.with_suffix(".db")) as database:
        database.executescript(dump.read_text(encoding="utf-8"))
    database.close()
    dump.unlink()
    _name_training(root)
    return EarlierVersion(root)


def _name_training(root: Path) -> None:
    (folder,) = (root / "home" / "training").iterdir()
    record = json.loads((folder / "training.json").read_text())
    record["digest"] = _digest(record["config"])
    (folder / "training.json").write_text(json.dumps(record))
    worker_config = _digest(json.loads((root / "worker_config.json").read_text()))
    for about in (folder / "temporal" / "checkpoints").glob("*.json"):
        about.write_text(json.dumps(json.loads(about.read_text()) | {"config": worker_config}))
    folder.rename(folder.with_name(record["digest"][:12]))


def _digest(config: dict[str, Any]) -> str:
    def of_effect(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: of_effect(inner) for name, inner in value.items() if name not in WITHOUT_EFFECT}
        return value

    text = json.dumps(of_effect(config), sort_keys=True, ensure_ascii=False)
    return blake2b(text.encode(), digest_size=16).hexdigest()
