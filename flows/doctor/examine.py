"""All looks of `vidrd doctor`, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from flows.doctor import machine, models, network, servers
from flows.doctor.finding import Finding, Look, found_by
from flows.environment import prepare
from flows.profile import Profile


def examine(profile: Profile) -> Iterator[Finding]:
    """Yields what there is to say of this machine, for a profile, as soon as it is found."""
    looks: tuple[tuple[str, Look], ...] = (
        ("VIDRD_HOME", _prepared),
        ("Python", machine.python),
        ("ffmpeg", machine.ffmpeg),
        ("GPU", machine.gpus),
        ("memory", machine.memory),
        ("/dev/shm", machine.shared_memory),
        ("disks", machine.disks),
        ("sockets", machine.sockets),
        ("clock", machine.clock),
        ("ports", network.ports),
        ("proxies", network.proxies),
        ("models", partial(models.models, profile)),
        ("weights", models.weights),
        ("Ray", servers.ray_cluster),
        ("Prefect", servers.prefect),
        ("Prefect's database", servers.databases),
        ("MLflow", servers.mlflow),
        ("files of runs", servers.mlflow_files),
    )
    for about, look in looks:
        yield from found_by(about, look)


def _prepared() -> Iterable[Finding]:
    """As every command begins: nothing to say where it can."""
    prepare()
    return ()
