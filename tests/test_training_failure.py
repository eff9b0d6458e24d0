"""The line on a training whose workers fail: it is of the worker that began it, not of those that lost it."""

from __future__ import annotations

import itertools

import pytest
from ray.exceptions import ActorDiedError
from ray.train import WorkerGroupError
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError

from tasks.training.failure import failure_line
from tasks.training.settings import TemporalSettings

SETTINGS = TemporalSettings(steps=10, batch_size=9, num_workers=3, max_failures=1)
GONE = WorkerHealthCheckFailedError("A worker health check failed.", ActorDiedError())
RAISED = ValueError("Traceback (most recent call last):\n  ...\nValueError: clip 7 has no latents")
LOST = [
    RuntimeError(
        "[gloo/transport/tcp/pair.cc:545] Read error [127.0.0.1]:1: Connection reset by peer. GLHF!"
    ),
    RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer [10.0.0.2]:3"),
    RuntimeError("NCCL communicator was aborted on rank 1."),
]


@pytest.mark.parametrize(
    ("cause", "said"),
    [(GONE, "want of memory"), (RAISED, "at last with ValueError: clip 7 has no latents; the same")],
    ids=["gone", "raised"],
)
@pytest.mark.parametrize("lost", LOST, ids=["reset", "closed", "nccl"])
def test_the_cause_is_named_at_whatever_rank_it_stands(cause: Exception, said: str, lost: Exception) -> None:
    for order in set(itertools.permutations([0, 1, 1])):
        failures = {rank: cause if kind == 0 else lost for rank, kind in enumerate(order)}
        line = failure_line(WorkerGroupError("of all", failures), SETTINGS)
        assert line.startswith(f"worker {order.index(0)} failed 2 times") and said in line
        assert "\n" not in line


def test_a_worker_that_is_gone_is_the_cause_of_what_others_raise() -> None:
    assert failure_line(WorkerGroupError("", {0: RAISED, 1: GONE}), SETTINGS).startswith("worker 1 failed")


def test_without_a_cause_the_first_is_named() -> None:
    line = failure_line(WorkerGroupError("", {2: LOST[0], 0: LOST[1]}), SETTINGS)
    assert line.startswith("worker 2 failed 2 times, at last with [gloo")
    assert failure_line(ValueError(), SETTINGS).startswith(
        "worker 0 failed 2 times, at last with ValueError;"
    )
