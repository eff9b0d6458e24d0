"""Progress: lines in the terminal that do not flood it, and an artifact inside a Prefect run."""

import pytest
from prefect import flow

from flows.progress import stage_progress


def test_many_calls_make_few_lines(capsys):
    with stage_progress("filter") as on_progress:
        for done in range(1000):
            on_progress(done + 1, 1000, "scoring")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "[filter] 1/1000   0 %  scoring"
    assert lines[-1].startswith("[filter] 1000/1000 100 %  scoring  done in ")
    assert len(lines) == 2


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
