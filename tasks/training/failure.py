"""Why the workers of a training failed too often, in one line: of the worker that began it."""

from __future__ import annotations

from ray.exceptions import RayActorError

from tasks.training.settings import TrainingSettings, less_memory_advice

# What the others say when one of them is gone: gloo's words, NCCL's, and those of torch's process groups.
_LOST_THE_OTHERS = (
    "connection reset",
    "connection closed",
    "broken pipe",
    "nccl",
    "process group",
    "watchdog",
)


def failure_line(error: Exception, settings: TrainingSettings) -> str:
    """Says which worker died of what, and how it goes on.

    A worker that was gone is the cause of what the others raise when they hear no more of it; else it is the first that
    raised anything but that.
    """
    failures: dict[int, Exception] = getattr(error, "worker_failures", None) or {0: error}
    causes = {rank: getattr(failure, "health_check_failure", failure) for rank, failure in failures.items()}
    rank, failure = min(causes.items(), key=lambda one: _follows_from_another(one[1]))
    last_line = (str(failure).strip().splitlines() or [""])[-1].strip()
    if isinstance(failure, RayActorError):  # it did not raise, it was gone
        last_line += f" (if it was for want of memory, try {less_memory_advice(settings)})"
    return (
        f"worker {rank} failed {settings.max_failures + 1} times, at last with {last_line or type(failure).__name__}; "
        "the same command goes on from the last checkpoint"
    )


def _follows_from_another(failure: Exception) -> int:
    """How surely it is no cause; of equals the first worker's counts."""
    if isinstance(failure, RayActorError):
        return 0
    text = str(failure).lower()
    return 2 if any(words in text for words in _LOST_THE_OTHERS) else 1
