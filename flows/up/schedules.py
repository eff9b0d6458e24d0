"""The schedules of the deployments: when they fire next, and that a switch which a person has set stays set."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage.local.home import home

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

_PAGE = 200


def name_all_schedules() -> None:
    """Gives every schedule a name, so that deploying changes those of prefect.yaml and leaves all others alone.

    Prefect takes over the schedules of a file name by name, and the switch of each stays as it is. Only where one has
    no name, as one made in the UI may have none, it deletes them all and makes those of the file anew.
    """
    with _client() as client:
        for deployment in _deployments(client):
            for schedule in deployment.schedules:
                if not schedule.slug:
                    client.update_deployment_schedule(
                        deployment.id, schedule.id, slug=f"unnamed-{str(schedule.id)[-8:]}"
                    )


def pause_schedules() -> None:
    """Switches every schedule off, and takes down which were on: `resume_schedules` switches those on again."""
    with _client() as client:
        active = [
            (deployment.id, schedule.id)
            for deployment in _deployments(client)
            for schedule in deployment.schedules
            if schedule.active
        ]
        known = {tuple(pair) for pair in _paused()}
        pairs = sorted(known | {(str(deployment), str(schedule)) for deployment, schedule in active})
        paused_file().write_text(json.dumps(pairs), encoding="utf-8")
        for deployment, schedule in active:
            client.update_deployment_schedule(deployment, schedule, active=False)


def resume_schedules() -> None:
    """Switches on what `pause_schedules` switched off; what a person did stays."""
    paused = {tuple(pair) for pair in _paused()}
    if paused:
        with _client() as client:
            for deployment in _deployments(client):
                for schedule in deployment.schedules:
                    if (str(deployment.id), str(schedule.id)) in paused:
                        client.update_deployment_schedule(deployment.id, schedule.id, active=True)
    paused_file().unlink(missing_ok=True)


def announcements() -> list[str]:
    """One line for each schedule: what runs next and when, or that it is off."""
    lines = []
    with _client() as client:
        for deployment in sorted(_deployments(client), key=lambda one: str(one.name)):
            for schedule in deployment.schedules:
                name = f"{deployment.name} ({schedule.slug or 'no name'})"
                on = schedule.active and not deployment.paused
                next_time = next_fire(schedule.schedule) if on else None
                lines.append(f"{name}: {f'next on {next_time}' if next_time else 'switched off'}")
    return lines


def next_fire(schedule: Any) -> str | None:
    """When a schedule fires next, in its own time zone and to the minute; None when it never does again."""
    import asyncio

    from prefect.server.schemas import schedules

    # The client's classes only describe a schedule; the server's of the same name work out its dates.
    worked_out = getattr(schedules, type(schedule).__name__).model_validate(schedule.model_dump())
    dates = asyncio.run(worked_out.get_dates(n=1))
    return dates[0].strftime("%Y-%m-%d %H:%M %Z") if dates else None


def paused_file() -> Path:
    """Which schedules `vidrd up --no-schedules` has switched off, as pairs of deployment and schedule."""
    return home() / "up-paused-schedules.json"


def _paused() -> list[list[str]]:
    try:
        pairs = json.loads(paused_file().read_text(encoding="utf-8"))
        return [pair for pair in pairs if isinstance(pair, list)]
    except (OSError, ValueError, TypeError):
        return []


def _deployments(client: SyncPrefectClient) -> Iterator[Any]:
    offset = 0
    while page := client.read_deployments(limit=_PAGE, offset=offset):
        yield from page
        offset += len(page)


@contextmanager
def _client() -> Iterator[SyncPrefectClient]:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        yield client
