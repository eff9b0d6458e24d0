"""Two processes that train one model between them, as two workers do, without what starts workers on a cluster."""

import subprocess
import sys
from pathlib import Path

import torch.distributed as dist

from tasks.generation.settings import SamplingSettings
from tasks.training.checkpoints import CheckpointStore
from tasks.training.devices import Group
from tasks.training.engine import Training
from tasks.training.settings import TemporalSettings
from tasks.training.temporal_part import TemporalPart

_PROJECT = Path(__file__).parents[1]
_SECOND = """
import sys
project, dataset, model, folder, settings = sys.argv[1:]
sys.path.insert(0, project)
from pathlib import Path
from tasks.training.settings import TemporalSettings
from tests.training_pair import train_one_of_two
train_one_of_two(1, Path(dataset), Path(model), Path(folder), TemporalSettings.model_validate_json(settings))
"""


class Unheard:
    """Hears nothing of a training."""

    def started(self, step: int) -> None: ...

    def figures(self, points) -> None: ...

    def video(self, step: int, name: str, mp4: bytes) -> None: ...


def train_alone(dataset: Path, model: Path, folder: Path, settings: TemporalSettings) -> Training:
    """A training in this process, with its checkpoints below the folder."""
    return _train(Group(), dataset, model, folder, settings)


def train_in_pair(dataset: Path, model: Path, folder: Path, settings: TemporalSettings) -> Training:
    """The same by this process and another one, which ends with it; returns this one's."""
    arguments = [str(_PROJECT), str(dataset), str(model), str(folder), settings.model_dump_json()]
    folder.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", _SECOND, *arguments], stderr=subprocess.PIPE, text=True
    ) as second:
        training = train_one_of_two(0, dataset, model, folder, settings)
        _, told = second.communicate(timeout=60)
    assert second.returncode == 0, told
    return training


def train_one_of_two(
    rank: int, dataset: Path, model: Path, folder: Path, settings: TemporalSettings
) -> Training:
    """The share of one of the two processes."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    try:
        return _train(Group(rank, 2), dataset, model, folder, settings)
    finally:
        dist.destroy_process_group()


def _train(group: Group, dataset: Path, model: Path, folder: Path, settings: TemporalSettings) -> Training:
    training = Training(TemporalPart(str(dataset), str(model), settings, SamplingSettings()), settings, group)
    training.run(CheckpointStore(str(folder / "checkpoints"), "config", 2), Unheard())
    return training
