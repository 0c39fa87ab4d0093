"""An installation of its own for one benchmark: embedded PostgreSQL, migrations, one person, nothing shared.

Import nothing of Django before `installation` was entered: settings are read once.
"""

import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def installation(**environ: str) -> Iterator[Path]:
    """Its data folder. Everything is gone afterwards."""
    from portal.supervisor import postgres

    folder = Path(tempfile.mkdtemp(prefix="petridish-bench-"))
    os.environ.update({"DATA_DIR": str(folder), "DJANGO_SETTINGS_MODULE": "portal.settings", **environ})
    server = postgres.start(folder / "postgres")
    try:
        os.environ["DATABASE_URL"] = postgres.database(server, "bench")
        _prepare()
        yield folder
    finally:
        _disconnect()
        postgres.stop(server)
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def end_on_sigterm() -> None:
    """Whoever has made something on a real cluster takes it away again, however they are stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


def say(text: str) -> None:
    """A line of the result, at once."""
    print(text, flush=True)  # noqa: T201


def load() -> str:
    """How busy this machine is: part of every figure."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def _prepare() -> None:
    import django

    django.setup()
    from django.core.management import call_command

    from portal.accounts.models import User
    from sandboxes.index.models import PolicySetting

    call_command("migrate", interactive=False, verbosity=0)
    User.objects.create(username="bench", department="bench")
    # What screening costs is measured by itself; nothing here screens, so nothing would be given.
    PolicySetting.objects.update(screened=False)


def _disconnect() -> None:
    """Nobody may be at the database when it stops: first this process's leases, then its connections."""
    from django.db import connections
    from django.db.backends.postgresql.base import DatabaseWrapper

    from sandboxes.lifecycle import claims

    claims.leave()
    for connection in connections.all(initialized_only=True):
        connection.close()
        if isinstance(connection, DatabaseWrapper):
            connection.close_pool()
