"""Attacks trainings on Ray Train: one worker against two, workers that are killed, and the whole machine."""

import json
import math
import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from storage.dataset.clip_dataset import ClipDataset
from tasks.errors import RequestError
from tasks.generation.settings import SamplingSettings
from tasks.training.checkpoints import CheckpointStore
from tasks.training.devices import Group
from tasks.training.engine import Training
from tasks.training.job import TrainingJob
from tasks.training.result import TrainingResult
from tasks.training.settings import DecoderSettings, TemporalSettings
from tasks.training.splits import unusable_clips
from tasks.training.temporal_part import TemporalPart
from tasks.training.train import train_part
from tests.training_dataset import write_training_dataset

PROJECT = Path(__file__).parents[1]
STEPS = 20
BROKEN = ["clip-0003", "clip-0013"]
"""Clips whose latents are not numbers: one of those to train on, one of the held-out."""

# A training in a process of its own, which says every step; what is killed with it is the whole session of Ray.
TRAINING = """
import json
import sys
project, dataset, model, work_dir, changes = sys.argv[1:]
sys.path.insert(0, project)
from pathlib import Path
from tests.test_training_workers import train
class Watcher:
    def started(self, step): print("started", step, flush=True)
    def figures(self, points): print("step", points[-1][0], flush=True)
    def video(self, step, name, mp4): pass
train(Path(dataset), Path(model), Path(work_dir), Watcher(), **json.loads(changes))
"""


def settings(**changes) -> TemporalSettings:
    fixed = {"steps": STEPS, "batch_size": 4, "num_workers": 2, "threads": 1, "warmup_steps": 3, "lr": 1e-3}
    quick = {"heldout_samples": 4, "log_every": 1, "checkpoint_every": 4, "ema_decay": 0.9}
    return TemporalSettings(**(fixed | quick | changes))


def train(
    dataset: Path, model: Path, work_dir: Path, watcher=None, on_progress=None, **changes
) -> TrainingResult:
    job = TrainingJob(str(dataset), str(model), settings(**changes), SamplingSettings())
    return train_part(job, work_dir, watcher, on_progress)


def started(dataset: Path, model: Path, work_dir: Path, **changes) -> subprocess.Popen[str]:
    arguments = [str(PROJECT), str(dataset), str(model), str(work_dir), json.dumps(changes)]
    return subprocess.Popen(
        [sys.executable, "-c", TRAINING, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.fixture(scope="module")
def clips(tmp_path_factory, tiny_profile) -> Path:
    """12 clips and an image to train on and 8 held out, of which one each is not finite."""
    folder = tmp_path_factory.mktemp("clips") / "d"
    return write_training_dataset(folder, Path(tiny_profile.model), 12, 8, 1, broken=BROKEN)


@pytest.fixture(scope="module")
def work_dir(tmp_path_factory) -> Path:
    """Where the training that nobody disturbs has worked."""
    return tmp_path_factory.mktemp("two") / "w"


@pytest.fixture(scope="module")
def told() -> list[tuple[int, str]]:
    """The progress that this training told: steps, and a few words."""
    return []


@pytest.fixture(scope="module")
def undisturbed(clips, small_model, work_dir, told, ray_session) -> TrainingResult:
    def on_progress(done: int, total: int | None, note: str) -> None:
        told.append((done, note))

    return train(clips, small_model, work_dir, on_progress=on_progress)


def weights(result: TrainingResult) -> dict[str, torch.Tensor]:
    return load_file(result.folder / "unet" / "diffusion_pytorch_model.safetensors")


def assert_same(result: TrainingResult, other: TrainingResult) -> None:
    assert result.curves == other.curves and result.heldout == other.heldout
    first, second = weights(result), weights(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


class Killer:
    """Kills one worker of the training with signal 9 when a step is told."""

    def __init__(self, at_step: int) -> None:
        self.begun: list[int] = []
        self.killed: int | None = None
        self._at_step = at_step

    def started(self, step: int) -> None:
        self.begun.append(step)

    def figures(self, points) -> None:
        if self.killed is None and points[-1][0] >= self._at_step:
            workers = [p for p in psutil.Process().children(recursive=True) if "RayTrainWorker" in p.name()]
            victim = random.choice(workers)
            self.killed = victim.pid
            victim.kill()

    def video(self, step: int, name: str, mp4: bytes) -> None: ...


class Unheard:
    """Hears nothing of a training in this process."""

    def started(self, step: int) -> None: ...

    def figures(self, points) -> None: ...

    def video(self, step: int, name: str, mp4: bytes) -> None: ...


@pytest.mark.slow
@pytest.mark.gate
def test_this_process_alone_and_two_workers_have_the_same_losses(clips, small_model, undisturbed, tmp_path):
    chosen = settings(num_workers=1)
    left_out = unusable_clips(ClipDataset.open(clips)).rows
    part = TemporalPart(str(clips), str(small_model), chosen, SamplingSettings(), tuple(left_out))
    alone = Training(part, chosen, Group())
    alone.run(CheckpointStore(str(tmp_path / "s"), "config", 2), Unheard())
    losses, heldout = alone.progress.curves["loss"], alone.progress.heldout
    assert len(losses) == STEPS
    assert losses == pytest.approx(undisturbed.curves["loss"], abs=1e-4)
    assert heldout["candidate"]["loss"] == pytest.approx(undisturbed.heldout["candidate"]["loss"], abs=1e-4)
    assert undisturbed.curves["loss"][0] != undisturbed.curves["loss"][-1]


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_nothing_but_time(clips, small_model, undisturbed, tmp_path):
    killer = Killer(at_step=random.randrange(5, STEPS - 3))
    result = train(clips, small_model, tmp_path / "w", killer)
    assert killer.killed is not None
    assert len(killer.begun) == 2 and 0 < killer.begun[1] % 4 + 4 <= killer.begun[1]
    assert_same(result, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("kills", [1, 3])
def test_a_machine_that_dies_goes_on_from_its_last_checkpoint(
    clips, small_model, undisturbed, tmp_path, kills
):
    work_dir = tmp_path / "w"
    for _ in range(kills):
        with started(clips, small_model, work_dir) as process:
            assert process.stdout is not None
            last = None
            stop_at = None
            for line in process.stdout:
                what, number = line.split()
                if what == "started":
                    stop_at = random.randrange(int(number), STEPS)
                elif stop_at is not None and int(number) >= stop_at:
                    last = int(number)
                    break
            process_tree = psutil.Process(process.pid)
            for victim in (process_tree, *process_tree.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    victim.kill()
            assert last is not None
    result = train(clips, small_model, work_dir)
    assert_same(result, undisturbed)


@pytest.mark.slow
@pytest.mark.gate
def test_what_is_finished_is_not_done_again(clips, small_model, undisturbed, work_dir, told):
    assert not (work_dir / "checkpoints").exists()
    assert json.loads((work_dir / "result.json").read_text())["steps"] == STEPS
    before = len(told)
    assert train(clips, small_model, work_dir) == undisturbed == TrainingResult.read(work_dir)
    assert len(told) == before


@pytest.mark.slow
def test_workers_that_die_again_and_again_end_it_in_one_line(clips, small_model, tmp_path, ray_session):
    class Murderer(Killer):
        def started(self, step: int) -> None:
            super().started(step)
            self.killed = None

    with pytest.raises(RequestError, match="failed 2 times") as caught:
        train(clips, small_model, tmp_path / "w", Murderer(at_step=0), max_failures=1)
    assert "want of memory" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_sharded_model_has_the_same_losses_and_goes_on_too(clips, small_model, undisturbed, tmp_path):
    killer = Killer(at_step=10)
    sharded = train(clips, small_model, tmp_path / "w", killer, sharding="fsdp")
    assert killer.killed is not None and killer.begun[1] > 0
    assert sharded.curves["loss"] == pytest.approx(undisturbed.curves["loss"], abs=1e-4)
    for whose in ("fresh", "base", "candidate"):
        assert sharded.heldout[whose]["loss"] == pytest.approx(undisturbed.heldout[whose]["loss"], abs=1e-4)


@pytest.mark.slow
def test_checkpoints_may_lie_in_a_bucket(clips, small_model, undisturbed, tmp_path, s3):
    """In a process of its own, since the workers of a session have the addresses and keys that it began with."""
    import fsspec

    fs = fsspec.filesystem("s3")
    work_dir = tmp_path / "w"
    seen = 0
    with started(clips, small_model, work_dir, checkpoints=f"{s3}/runs") as process:
        for line in process.stdout or ():
            fs.invalidate_cache()
            seen = max(seen, len(fs.find("bucket/runs")) if line.startswith("step") else 0)
        assert process.wait() == 0
    assert seen >= 2 and not [
        x for x in fs.find("bucket/runs") if "step" in x
    ]  # a state and its digest; nothing is left of them
    assert_same(train(clips, small_model, work_dir), undisturbed)


@pytest.mark.slow
def test_a_training_that_cannot_go_on_says_why_in_one_line(clips, small_model, tmp_path, ray_session):
    changes = {"num_workers": 1, "lr": 1e6, "warmup_steps": 0, "max_bad_steps": 2}
    with pytest.raises(RequestError, match=r"temporal: the gradient was not finite in 2 steps") as caught:
        train(clips, small_model, tmp_path / "w", steps=60, **changes)
    assert "\n" not in str(caught.value)


def test_more_workers_than_there_is_room_for_are_refused(clips, small_model, tmp_path, ray_session):
    with pytest.raises(RequestError, match="Ray has"):
        train(clips, small_model, tmp_path / "v", num_workers=64, batch_size=64)


@pytest.mark.slow
@pytest.mark.gate
def test_clips_that_are_not_finite_are_left_out_and_named(undisturbed, told):
    """One to train on, one held out: no step is lost to them, and every figure is finite."""
    assert undisturbed.left_out == BROKEN and undisturbed.skipped == []
    assert (undisturbed.train_clips, undisturbed.heldout_clips) == (12, 7)
    assert told[0][0] == 0 and all(name in told[0][1] for name in BROKEN)  # before the first step
    assert any(all(name in note for name in BROKEN) for note in undisturbed.notes)
    figures = [value for of_one in undisturbed.heldout.values() for value in of_one.values()]
    assert all(math.isfinite(value) for value in figures)
    assert None not in undisturbed.curves["loss"]


@pytest.mark.slow
def test_the_decoder_goes_on_as_well(training_clips, tiny_profile, tmp_path, ray_session):
    settings = DecoderSettings(
        steps=6,
        batch_size=2,
        num_workers=1,
        threads=1,
        heldout_samples=2,
        log_every=1,
        checkpoint_every=2,
        adversarial_weight=0.5,
        lr=1e-3,
        warmup_steps=1,
    )
    job = TrainingJob(str(training_clips), tiny_profile.model, settings)
    undisturbed = train_part(job, tmp_path / "a")
    killer = Killer(at_step=3)
    killed = train_part(job, tmp_path / "b", killer)
    assert killer.killed is not None and killer.begun[1] >= 2
    assert killed.curves == undisturbed.curves and killed.heldout == undisturbed.heldout
