"""Whether a database that an address names can be used: asked before work begins, in one line, without the password."""

import importlib
import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from storage.errors import StorageError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

_ANSWER_S = 5
_OTHERS = ("mysql", "mssql")  # that MLflow takes


def check_database(variable: str, address: str) -> None:
    """Raises StorageError that names the variable when a database server is away, refuses us, or its driver is missing.

    `address` is SQLAlchemy's of a PostgreSQL; of other database servers the driver alone is asked for.
    """
    if not address.startswith(("postgresql", *_OTHERS)):
        return
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(address)
    except (ArgumentError, ValueError) as error:
        raise StorageError(f"{variable}: not the address of a database") from error
    shown = f"{url.drivername}://{url.host or ''}{f':{url.port}' if url.port else ''}/{url.database or ''}"
    if address.startswith(_OTHERS):
        _check_driver(variable, url, shown)
        return
    host = url.host if not (url.host or "").startswith("/") else None  # else a socket of this machine
    driver = "asyncpg" if url.drivername.endswith("+asyncpg") else "psycopg2"
    try:
        importlib.import_module(driver)
        if host:
            socket.create_connection((host, url.port or 5432), timeout=_ANSWER_S).close()
        _connect(url.set(drivername="postgresql").render_as_string(hide_password=False), driver)
    except ImportError as error:
        raise StorageError(
            f"{variable}: {shown} needs the driver {driver}, which is not installed; pip install 'vidrd[server]'"
        ) from error
    except Exception as error:  # each driver has its own kinds
        told = getattr(error, "strerror", None) or str(error)
        lines = [line.strip() for line in told.splitlines() if line.strip()]
        told = (lines or [type(error).__name__])[0]
        if url.password:
            told = told.replace(str(url.password), "***")
        raise StorageError(f"{variable}: {shown} cannot be used: {told}") from error


def check_sqlite(database: Path) -> None:
    """StorageError when a file is no SQLite database that can be read; a missing or empty one is yet to be made."""
    try:
        if not database.is_file() or not database.stat().st_size:
            return
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        return  # locked, say: whoever uses it waits
    except (sqlite3.DatabaseError, OSError) as error:
        raise StorageError(
            f"{database}: not a database that can be read ({error}); put a copy in its place, or move it away to begin "
            "with an empty one"
        ) from error


def _check_driver(variable: str, url: "URL", shown: str) -> None:
    try:
        url.get_dialect().import_dbapi()
    except ImportError as error:
        raise StorageError(
            f"{variable}: {shown} needs the driver {error.name}, which is not installed; install it with pip"
        ) from error
    except Exception as error:  # a name that SQLAlchemy knows no database by
        raise StorageError(f"{variable}: not the address of a database") from error


def _connect(address: str, driver: str) -> None:
    if driver == "asyncpg":
        import asyncio

        import asyncpg  # type: ignore[import-untyped]

        async def connect() -> None:
            await (await asyncpg.connect(address, timeout=_ANSWER_S)).close()

        asyncio.run(connect())
        return
    import psycopg2  # type: ignore[import-untyped]

    psycopg2.connect(address, connect_timeout=_ANSWER_S).close()
