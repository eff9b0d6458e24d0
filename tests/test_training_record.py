"""Attacks the record of a training: kills, two at once, other settings, and what finished trainings leave behind."""

import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import StorageError
from tasks.errors import RequestError
from tasks.generation.settings import SamplingSettings
from tasks.training.job import TrainingJob
from tasks.training.record import RECORD_FILE, WITHOUT_EFFECT, TrainingRecord, config_digest
from tasks.training.settings import DecoderSettings, TemporalSettings, less_memory_advice

CONFIG = {
    "dataset": "/data/d",
    "dataset_tag": "build-0001",
    "settings": {"temporal": {"steps": 10, "lr": 1e-4, "num_workers": 2, "log_every": 10}},
}


def changed(**settings: object) -> dict:
    return CONFIG | {"settings": {"temporal": CONFIG["settings"]["temporal"] | settings}}


@given(st.sampled_from(sorted(WITHOUT_EFFECT)), st.integers())
def test_how_the_work_is_done_is_no_other_training(name, value):
    assert config_digest(changed(**{name: value})) == config_digest(CONFIG)


@given(st.text(), st.one_of(st.none(), st.integers(), st.floats(allow_nan=False), st.text()))
def test_any_other_setting_is_another_training(name, value):
    settings = CONFIG["settings"]["temporal"]
    is_same = name in WITHOUT_EFFECT or (name in settings and settings[name] == value)
    assert (config_digest(changed(**{name: value})) == config_digest(CONFIG)) is is_same


def test_what_names_a_training_is_for_ever_the_same():
    """Its folder and checkpoints are found by it, those of earlier versions too."""
    config = {"part": "temporal", "settings": {"lr": 1e-4}, "b": ["é"]}
    assert config_digest(config) == "9b58d2257490ef961995386039870b78"


@given(
    workers=st.integers(1, 2),
    share=st.integers(1, 4),
    micro_batch=st.sampled_from([None, 1, 2]),
    frugal=st.sets(st.sampled_from(["precision", "gradient_checkpointing", "optimizer", "sharding"])),
)
def test_advice_for_less_memory_is_what_is_not_done_yet(workers, share, micro_batch, frugal):
    done = {
        "precision": "bfloat16",
        "gradient_checkpointing": True,
        "optimizer": "adamw8bit",
        "sharding": "fsdp",
    }
    settings = TemporalSettings(
        steps=1,
        num_workers=workers,
        batch_size=workers * share,
        micro_batch=micro_batch,
        **{name: done[name] for name in frugal},
    )
    advice = less_memory_advice(settings)
    for name, value in done.items():
        told = f"{name} = {str(value).lower()}" if value is True else f'{name} = "{value}"'
        assert (told in advice) is (name not in frugal)
    at_once = min(micro_batch or share, share)
    assert (f"micro_batch below {at_once}" in advice) is (at_once > 1)
    if at_once == 1 and len(frugal) == len(done):
        assert advice == "smaller clips or a larger device"


def test_a_setting_that_came_later_is_another_training_only_where_it_is_set():
    assert config_digest(changed(caption_mix=None)) == config_digest(CONFIG)
    assert config_digest(changed(caption_mix={"model": 1.0})) != config_digest(CONFIG)


@pytest.mark.parametrize("left_out", [(), (3, 5)])
def test_checkpoints_of_earlier_versions_are_those_of_the_same_job(left_out):
    """Their digest was of what they told their workers: no way to join clips, and left-out clips where some were."""
    named = {"left_out": list(left_out)} if left_out else {}
    later = {"clips_at_once", "guidance_start", "guidance_stop", "timestep_spacing", "cache_interval"}
    sampling, temporal, decoder = SamplingSettings(), TemporalSettings(steps=7), DecoderSettings(steps=7)
    for job, part, own in (
        (
            TrainingJob("/d@t", "/m", temporal, sampling, left_out),
            "temporal",
            {"sampling": sampling.model_dump(exclude=later) | {"seam": None}},
        ),
        (TrainingJob("/d@t", "/m", decoder, left_out=left_out), "decoder", {}),
    ):
        told = {"part": part, "dataset": "/d@t", "model": "/m", "settings": job.settings.model_dump()}
        assert job.digest == config_digest(told | own | named)
        assert replace(job, left_out=(*left_out, 9)).digest != job.digest
        quick = job.settings.model_copy(update={"num_workers": 1, "log_every": 3})
        assert replace(job, settings=quick).digest == job.digest


def test_an_interrupted_training_is_found_again_and_a_finished_one_is_not(tmp_path):
    with TrainingRecord.open(tmp_path, CONFIG) as first:
        assert not first.resumed and first.run_id is None
        first.note_run("abc")
        (first.folder / "temporal").mkdir()
        (first.folder / "temporal" / "state").write_text("x")
    with TrainingRecord.open(tmp_path, changed(num_workers=8)) as second:
        assert second.resumed and second.run_id == "abc" and second.started_at == first.started_at
        assert second.folder == first.folder and (second.folder / "temporal" / "state").exists()
        assert json.loads((second.folder / RECORD_FILE).read_text())["config"] == changed(num_workers=8)
        with TrainingRecord.open(tmp_path, changed(lr=2e-4)) as other:
            assert not other.resumed and other.folder != second.folder
            other.finish()
        second.finish()
    assert not any(tmp_path.iterdir())
    with TrainingRecord.open(tmp_path, CONFIG) as third:
        assert not third.resumed and third.run_id is None


def test_fresh_gives_up_what_is_there(tmp_path):
    with TrainingRecord.open(tmp_path, CONFIG) as first:
        first.note_run("abc")
        (first.folder / "temporal").mkdir()
    with TrainingRecord.open(tmp_path, CONFIG, fresh=True) as second:
        assert not second.resumed and second.run_id is None and second.abandoned_run_id == "abc"
        assert not (second.folder / "temporal").exists()
    with TrainingRecord.open(tmp_path, CONFIG) as third:
        assert third.resumed and third.run_id is None and third.abandoned_run_id is None


def test_what_a_crash_leaves_without_a_record_counts_for_nothing(tmp_path):
    with TrainingRecord.open(tmp_path, CONFIG) as record:
        (record.folder / "temporal").mkdir()
        (record.folder / RECORD_FILE).unlink()
    with TrainingRecord.open(tmp_path, CONFIG) as record:
        assert not record.resumed and not (record.folder / "temporal").exists()
        (record.folder / RECORD_FILE).write_text('{"config"')
    with pytest.raises(StorageError, match="is not JSON") as caught:
        TrainingRecord.open(tmp_path, CONFIG)
    assert "\n" not in str(caught.value)


def test_the_second_of_two_at_once_is_refused_until_the_first_is_killed(tmp_path):
    """The first is another process, ended by SIGKILL as a machine that goes ends it."""
    code = (
        "import sys, json, pathlib; from tasks.training.record import TrainingRecord\n"
        "record = TrainingRecord.open(pathlib.Path(sys.argv[1]), json.loads(sys.argv[2]))\n"
        "record.note_run('abc'); print('open', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path), json.dumps(CONFIG)]
    root = Path(__file__).resolve().parents[1]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=root, text=True, **pipes) as first:
        assert first.stdout is not None and first.stdout.readline() == "open\n"
        for fresh in (False, True):
            with pytest.raises(RequestError, match="goes on in another process") as caught:
                TrainingRecord.open(tmp_path, CONFIG, fresh)
            assert "\n" not in str(caught.value)
        TrainingRecord.open(tmp_path, changed(lr=1.0)).close()
        first.kill()
    with TrainingRecord.open(tmp_path, CONFIG) as record:
        assert record.resumed and record.run_id == "abc"


def test_one_at_a_time_even_while_folders_come_and_go(tmp_path):
    """Four threads open and finish the same training: never are two of them in it."""
    inside, opened = [0], [0]

    def work() -> None:
        while opened[0] < 50:
            try:
                record = TrainingRecord.open(tmp_path, CONFIG)
            except RequestError:
                continue
            inside[0] += 1
            assert inside[0] == 1 and not record.resumed
            opened[0] += 1
            inside[0] -= 1
            record.finish()

    failures: list[BaseException] = []
    before = threading.excepthook
    threading.excepthook = lambda hook: failures.append(hook.exc_value)
    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
    finally:
        threading.excepthook = before
    assert not failures and opened[0] >= 50
