"""Brings database, static files and demo people up to date, in this process: one Django, started once.

Each step first looks whether there is anything to do, since at most starts
there is not, and starting should take seconds.
"""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from portal import private
from portal.env import Environment

if TYPE_CHECKING:
    from portal.accounts.demo import Login


def prepare(environment: Environment) -> "list[Login]":
    """Everything up to date; returns the demo sign-ins, none in production.

    Django is imported here and not above: settings read the database's address,
    which is known only once the server runs.
    """
    import django

    django.setup()
    _migrate()
    _collect_static(environment)
    if environment.production:
        return []
    from portal.accounts import demo

    return demo.seed(environment)


def _migrate() -> None:
    from django.core.management import call_command
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        call_command("migrate", interactive=False, verbosity=0)


def _collect_static(environment: Environment) -> None:
    from django.conf import settings
    from django.core.management import call_command

    note = environment.data_dir / "run" / "static"
    fingerprint = _static_fingerprint()
    if Path(settings.STATIC_ROOT).is_dir() and note.is_file() and note.read_text() == fingerprint:
        return
    note.unlink(missing_ok=True)
    call_command("collectstatic", interactive=False, clear=True, verbosity=0)
    private.write(note, fingerprint)


def _static_fingerprint() -> str:
    """Of names, sizes and times: content would be read for nothing."""
    from django.contrib.staticfiles.finders import get_finders

    files = hashlib.sha256()
    for finder in get_finders():
        for path, storage in finder.list([]):
            stat = Path(storage.path(path)).stat()
            files.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return files.hexdigest()
