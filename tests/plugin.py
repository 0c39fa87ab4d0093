"""Loaded before everything else (`-p tests.plugin`): the environment all tests run in.

Settings are read once, when pytest-django loads them, so the database must be
there before. One embedded PostgreSQL serves every test run in this checkout at
once; each run has a database and a data folder named after its process, and the
last run to end stops the server. xdist's workers inherit all of it through the
environment.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from psycopg import sql

from tests.settings_read import ROOT, all_read

DATA = ROOT / ".data" / "test"
RUN = "PETRIDISH_TEST_RUN"  # the process number of the run that started the database

# Settings that have a part of the name from somewhere else, and others' that ours read: by how they begin.
FOREIGN = ("AWS_", "INDEX_", "OIDC_", "SAML_")
KEPT = frozenset({"KUBECONFIG"})  # read beside KUBE_CONTEXT alone, and tests on a real cluster are told by it
# A test database may be lost with the power: it need not wait for the disk.
TUNING = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    if RUN in os.environ:  # an xdist worker, or pytest inside a test
        return
    _keep_bytecode()
    forget_settings()
    run = str(os.getpid())
    os.environ[RUN] = run
    os.environ["DATA_DIR"] = str(DATA / f"run-{run}")
    (DATA / f"run-{run}" / "static").mkdir(parents=True)  # WhiteNoise warns when there is none
    os.environ["DATABASE_URL"] = _start_database(f"run_{run}")


def forget_settings() -> None:
    """Nothing a person has set for their own installation may steer the tests."""
    for name in {*all_read(), *(name for name in os.environ if name.startswith(FOREIGN))} - KEPT:
        os.environ.pop(name, None)


def _keep_bytecode() -> None:
    """Hundreds of processes start: where images of Python forbid it, each would compile all that it imports."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Before temporary folders are made, and after Django is set up."""
    if config.option.basetemp is None and _started_here():
        # Pytest's own place is closed to all but us at each start of any pytest; run by root,
        # PostgreSQL runs as somebody else, who must be able to reach its data in there.
        config.option.basetemp = Path(os.environ["DATA_DIR"]) / "tmp"
    _set_up_django()


def _set_up_django() -> None:
    """Settings that only tests have."""
    from django.conf import settings

    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.MD5PasswordHasher"
    ]  # the real one is slow on purpose
    settings.STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.WHITENOISE_USE_FINDERS = True  # nothing was collected


def pytest_unconfigure() -> None:
    if _started_here():
        shutil.rmtree(os.environ["DATA_DIR"], ignore_errors=True)


def _started_here() -> bool:
    return os.environ.get(RUN) == str(os.getpid())


def _start_database(name: str) -> str:
    from portal.supervisor import postgres  # after the environment is clean

    server = postgres.start(DATA / "postgres")
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        for option, value in TUNING.items():
            connection.execute(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(option), value))
        connection.execute("SELECT pg_reload_conf()")
        for left in _left_behind(connection):
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(left))
            )
    for folder in DATA.glob("run-*"):
        if not psutil.pid_exists(int(folder.name.partition("-")[2])):
            shutil.rmtree(folder, ignore_errors=True)
    return server.get_uri(database=name)


def _left_behind(connection: psycopg.Connection) -> Iterator[str]:
    """Databases of runs that were killed."""
    rows = connection.execute(r"SELECT datname FROM pg_database WHERE datname LIKE 'test\_run\_%'").fetchall()
    for (name,) in rows:
        if not psutil.pid_exists(int(name.split("_")[2])):
            yield name
