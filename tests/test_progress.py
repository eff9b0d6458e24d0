"""Progress: lines in the terminal that do not flood it, and an artifact inside a Prefect run."""

import pytest
from prefect import flow

from flows.runs.progress import stage_progress


def test_many_calls_make_few_lines(capsys):
    with stage_progress("filter") as on_progress:
        for done in range(1000):
            on_progress(done + 1, 1000, "scoring")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "[filter] 1/1000   0 %  scoring"
    assert lines[-1].startswith("[filter] 1000/1000 100 %  scoring  done in ")
    assert len(lines) == 2


def test_parts_count(monkeypatch, capsys):
    """Of one long film a third is a third, though no source is done."""
    import flows.runs.progress

    monkeypatch.setattr(flows.runs.progress, "MIN_INTERVAL_S", 0.0)
    progress = flows.runs.progress.StageProgress("build")
    progress(0.0, 1, "clips: 1 read")
    progress._first = (progress._first[0] - 60.0, 0.0)
    progress(1 / 3, 1, "clips: 100 read")
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("[build] 0/1  33 %  clips: 100 read") and line.endswith("about 2 min 00 s left")


def test_an_unknown_total_is_allowed(capsys):
    with stage_progress("read") as on_progress:
        on_progress(5, None)
    assert capsys.readouterr().err.startswith("[read] 5\n")


def test_a_failure_says_how_far_it_came(capsys):
    with pytest.raises(ValueError), stage_progress("encode") as on_progress:
        on_progress(1, 4)
        on_progress(2, 4)
        raise ValueError
    assert "[encode] 2/4  50 %  failed after " in capsys.readouterr().err


def test_inside_a_run_it_is_a_progress_artifact(prefect_session):
    from prefect.artifacts import Artifact

    @flow
    def job() -> None:
        with stage_progress("Build Latents") as on_progress:
            on_progress(1, 2, "half")

    job()
    artifact = Artifact.get("progress-build-latents")
    assert artifact is not None
    assert artifact.type == "progress"
    assert float(str(artifact.data)) == 100.0
    assert "1/2" in (artifact.description or "") or "done in" in (artifact.description or "")


def test_the_time_left_goes_by_the_pace_since_the_first_call(monkeypatch, capsys):
    """Work that goes on in its middle has not done the first half in no time."""
    import flows.runs.progress

    monkeypatch.setattr(flows.runs.progress, "MIN_INTERVAL_S", 0.0)
    progress = flows.runs.progress.StageProgress("train")
    progress(500, 1000)
    progress._first = (progress._first[0] - 60.0, 500)
    progress(600, 1000)
    progress(1000, 1000)
    progress.finish(failed=False)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "[train] 500/1000  50 %"
    assert lines[1].startswith("[train] 600/1000  60 %  about ") and lines[1].endswith(" left")
    assert "4" in lines[1]  # minutes: a hundred took one, and four hundred are left
    assert not any("left" in line for line in lines[2:])


def test_inside_a_run_it_is_in_the_log(prefect_session, monkeypatch):
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
    from prefect.logging.handlers import APILogHandler
    from prefect.runtime import flow_run

    import flows.runs.progress

    monkeypatch.setattr(flows.runs.progress, "MIN_INTERVAL_S", 0.0)

    @flow
    def job() -> str:
        with stage_progress("train") as on_progress:
            for step in range(100):
                on_progress(step, 100, f"loss {step}.5")
        return str(flow_run.id)

    run_id = job()
    APILogHandler().flush()
    with get_client(sync_client=True) as client:
        logs = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id])))
    told = [log.message for log in logs if log.message.startswith("[train]")]
    assert told[0] == "[train] 0/100   0 %  loss 0.5"
    assert len(told) == 2 and "loss 99.5" in told[1] and "done in" in told[1]
