"""The servers that commands would use: Prefect's, MLflow's, their databases, a cluster of Ray."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from importlib import metadata
from urllib.parse import urlsplit

import httpx

from flows.doctor.finding import Finding
from flows.doctor.machine import CLOCK_S
from flows.runs.server import server_address
from flows.surroundings import PREFECT_DATABASES
from storage.local.addresses import without_secrets
from storage.local.databases import check_database, check_sqlite
from storage.local.folders import why_unusable
from storage.local.home import mlflow_artifacts, mlflow_database, prefect_database
from storage.local.secret_files import known_secret
from storage.local.services import USER, mlflow_sign_in, prefect_auth
from tasks.cluster_checks import check_cluster, joins_cluster

_ANSWER_S = 10.0
_NOT_SIGNED_IN = (401, 403)


def ray_cluster() -> Iterable[Finding]:
    """Whether the cluster of `$RAY_ADDRESS` answers."""
    check_cluster()
    if not joins_cluster():
        yield Finding(
            "Ray",
            "ok",
            "RAY_ADDRESS names no cluster: commands start a session of their own where they need one",
        )
    else:
        yield Finding("Ray", "ok", f"{os.environ['RAY_ADDRESS']} answers")


def prefect() -> Iterable[Finding]:
    """Whether the server that records runs answers, takes our sign-in, and is of a version that fits."""
    address = server_address()
    if address is None:
        yield Finding("Prefect", "ok", "no server is named: commands run without, and vidrd up starts one")
        return
    auth = prefect_auth(address) or _prefect_auth_of_the_user()
    name, _, password = (auth or "").partition(":")
    yield from _answers(
        "Prefect",
        f"{address.rstrip('/')}/admin/version",
        (name, password) if auth else None,
        metadata.version("prefect"),
        "set PREFECT_API_AUTH_STRING to the server's name:password",
        "start it, or unset PREFECT_API_URL",
    )


def mlflow() -> Iterable[Finding]:
    """Whether the server or the database of models and runs answers."""
    address = os.environ.get("MLFLOW_TRACKING_URI")
    if not address or urlsplit(address).scheme not in ("http", "https"):
        yield from _mlflow_without_server(address)
        return
    plain, auth = mlflow_sign_in(address)
    plain = urlsplit(plain)._replace(query="").geturl().rstrip("/")
    yield from _answers(
        "MLflow",
        f"{plain}/version",
        auth,
        metadata.version("mlflow"),
        "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
        "start it, or unset MLFLOW_TRACKING_URI",
    )


def _prefect_auth_of_the_user() -> str | None:
    """What the variable holds, unless that is the secret of our own server: it goes to its address alone."""
    given, secret = os.environ.get("PREFECT_API_AUTH_STRING"), known_secret("prefect")
    return None if secret and given == f"{USER}:{secret}" else given


def _mlflow_without_server(address: str | None) -> Iterable[Finding]:
    if address:
        check_database("MLFLOW_TRACKING_URI", address)
        yield Finding("MLflow", "ok", f"{without_secrets(address)}, no server")
        return
    check_sqlite(mlflow_database())
    is_there = mlflow_database().is_file()
    yield Finding(
        "MLflow", "ok", f"{mlflow_database()}{'' if is_there else ', made by the first run'}, no server"
    )


def mlflow_files() -> Iterable[Finding]:
    """A file written where runs keep theirs, read back and deleted; before the first run, whether it could be."""
    if not os.environ.get("MLFLOW_TRACKING_URI") and not mlflow_database().is_file():
        problem = why_unusable(mlflow_artifacts())
        if problem:
            yield Finding(
                "files of runs", "problem", problem, "set VIDRD_HOME to a folder that can be written"
            )
        else:
            yield Finding("files of runs", "ok", f"{mlflow_artifacts()}, made by the first run")
        return
    from storage.registry.registry import Registry

    location = Registry().check_artifacts()
    yield Finding("files of runs", "ok", f"{without_secrets(location)}: written, read back, deleted")


def databases() -> Iterable[Finding]:
    """The database of the Prefect server that `vidrd up` would start."""
    named = [name for name in PREFECT_DATABASES if os.environ.get(name)]
    for name in named:
        check_database(name, os.environ[name])
        yield Finding("Prefect's database", "ok", without_secrets(os.environ[name]))
    if not named:
        check_sqlite(prefect_database())
        yield Finding("Prefect's database", "ok", str(prefect_database()))


def _answers(
    about: str,
    address: str,
    auth: tuple[str, str] | None,
    installed: str,
    signing_in: str,
    starting: str,
) -> Iterable[Finding]:
    """Asks a server for its version; findings about it, and about its clock where that is another."""
    shown = without_secrets(address)
    try:
        answer = httpx.get(address, auth=auth, timeout=_ANSWER_S, follow_redirects=True)
    except httpx.HTTPError as error:
        reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
        yield Finding(about, "problem", f"{shown} does not answer: {reason}", starting)
        return
    if answer.status_code in _NOT_SIGNED_IN:
        yield Finding(about, "problem", f"{shown} refuses us ({answer.status_code})", signing_in)
        return
    if answer.status_code != httpx.codes.OK:
        yield Finding(about, "problem", f"{shown} answers {answer.status_code}", "look into the server's log")
        return
    version = answer.text.strip().strip('"')[:40]
    told = f"{shown.rsplit('/', 1)[0]}, {version}"
    if _series(version) != _series(installed):
        yield Finding(about, "note", f"{told}; here is {installed}", "bring both to one version")
    else:
        yield Finding(about, "ok", told)
    yield from _clock_of(about, answer.headers)


def _series(version: str) -> list[str]:
    return version.split(".")[:2]


def _clock_of(about: str, headers: Mapping[str, str]) -> Iterable[Finding]:
    """What the server says of the time, to the second."""
    try:
        apart_s = parsedate_to_datetime(headers["Date"]).timestamp() - time.time()
    except (KeyError, ValueError):
        return
    if abs(apart_s) > CLOCK_S:
        yield Finding(
            f"{about}'s clock",
            "problem",
            f"{apart_s:+.0f} s off ours",
            "set both by NTP: schedules and leases hang on it",
        )
