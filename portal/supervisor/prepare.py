"""Brings database, static files and demo people up to date, in this process: one Django, started once.

At most starts there is nothing to do, which `fresh.py` sees without any of this.
"""

import os

from portal.env import Environment


def prepare(environment: Environment) -> None:
    """Everything up to date; in production no demo people.

    Django is imported here and not above: settings read the database's address,
    which is known only once the server runs.
    """
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    django.setup()
    try:
        _migrate()
        _collect_static()
        if not environment.production:
            _seed(environment)
    finally:
        _disconnect()


def _seed(environment: Environment) -> None:
    from portal.accounts import demo

    demo.seed(environment)


def _disconnect() -> None:
    """The supervisor keeps no connection while it only watches."""
    from django.db import connections
    from django.db.backends.postgresql.base import DatabaseWrapper

    for connection in connections.all(initialized_only=True):
        connection.close()
        if isinstance(connection, DatabaseWrapper):
            connection.close_pool()


def _migrate() -> None:
    from django.core.management import call_command
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        call_command("migrate", interactive=False, verbosity=0)


def _collect_static() -> None:
    """Anew as a whole: hashed names of earlier versions would stay for ever."""
    from django.core.management import call_command

    call_command("collectstatic", interactive=False, clear=True, verbosity=0)
