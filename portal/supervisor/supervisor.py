"""From nothing to ready, and back to nothing.

The order: look (ports, cluster), PostgreSQL, schema and demo people, children,
wait until each is at work, then watch them until told to stop. Whatever goes
wrong on the way, and however it is told to stop, `run` leaves nothing running:
children first, the database last.
"""

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import FrameType

import psycopg

from portal import env, private
from portal.env import Environment
from portal.supervisor import children, fresh, lock, plan, postgres, preflight, prepare
from portal.supervisor.children import Child, Spec
from sandboxes.errors import PermanentError, PetridishError

PATIENCE = 90.0  # seconds until everything must be at work
GRACE = 6.0  # seconds to stop in


class Supervisor:
    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = dict(environ)
        self.environment = env.read(environ)
        self.children: list[Child] = []
        self._hurry = False

    def run(self) -> None:
        """Returns when told to stop; raises `PetridishError` when Petridish cannot run."""
        with lock.only_one(self.environment.data_dir), ExitStack() as stack:
            signal.signal(signal.SIGTERM, _interrupt)
            signal.signal(signal.SIGINT, _interrupt)
            try:
                self._run(stack)
            except KeyboardInterrupt:
                say("Stopping.")
            finally:
                # From here on a signal no longer breaks off what is being done: it only shortens it.
                signal.signal(signal.SIGTERM, self._no_grace)
                signal.signal(signal.SIGINT, self._no_grace)
                children.stop(self.children, GRACE, lambda: self._hurry)
                stack.close()

    def _run(self, stack: ExitStack) -> None:
        lock.end_leftovers(self.environment.data_dir)
        preflight.ports(self.environment)
        private.folder(self.environment.data_dir / "logs")
        if self.environment.simulated:
            say(preflight.simulated(self.environ))
            self._start(plan.simulator(self.environment, self._child_environ(), preflight.free_port()))
        with ThreadPoolExecutor(2) as pool:
            cluster = None if self.environment.simulated else pool.submit(preflight.cluster, self.environment)
            pool.submit(self._start_database, stack).result()
            if cluster:
                say(cluster.result())
        self._prepare()
        for spec in plan.services(self.environment, self._child_environ()):
            self._start(spec)
        self._wait_until_ready()
        say(f"Petridish is ready: {self.environment.public_url}")
        _say_logins(self.environment)
        while True:
            self._watch()
            time.sleep(0.2)

    def _start_database(self, stack: ExitStack) -> None:
        """The embedded server, unless another is named; its address goes to our children and to `manage.py`."""
        url = self.environ.get("DATABASE_URL")
        if not url:
            server = postgres.start(self.environment.data_dir / "postgres")
            stack.callback(postgres.stop, server)
            url = postgres.database(server, "petridish")
            private.write(self.environment.data_dir / "database_url", url + "\n")
        try:
            psycopg.connect(url, connect_timeout=5).close()
        except psycopg.Error as error:
            raise PermanentError(
                f"The database (DATABASE_URL) does not answer: {_first_line(error)}"
            ) from error
        self.environ["DATABASE_URL"] = os.environ["DATABASE_URL"] = url
        self.environment = env.read(self.environ)

    def _prepare(self) -> None:
        log = self.environment.data_dir / "logs" / "setup.log"
        with psycopg.connect(self.environment.database_url, autocommit=True) as connection:
            if fresh.is_prepared(self.environment, connection):
                return
            try:
                prepare.prepare(self.environment)
            except PetridishError:
                raise
            except Exception as error:
                log.write_text(traceback.format_exc())
                raise PermanentError(f"Setting up failed ({_first_line(error)}); see {log}.") from error
            fresh.note_prepared(self.environment, connection)

    def _start(self, spec: Spec) -> None:
        children.rotate(spec.log)
        child = Child(spec, say)
        self.children.append(child)
        child.start()
        self._note_children()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE
        waiting = list(self.children)
        while waiting := [child for child in waiting if not child.is_ready()]:
            if time.monotonic() > deadline:
                late = waiting[0]
                raise PermanentError(
                    f"{late.name} is not ready after {PATIENCE:.0f} seconds; see {late.spec.log}."
                )
            self._watch()
            time.sleep(0.05)

    def _watch(self) -> None:
        before = self._pids()
        for child in self.children:
            child.watch()
        if self._pids() != before:
            self._note_children()

    def _pids(self) -> list[int]:
        return [child.process.pid for child in self.children if child.process]

    def _note_children(self) -> None:
        lock.note_children(self.environment.data_dir, self._pids())

    def _child_environ(self) -> dict[str, str]:
        settled = {
            "BIND": self.environment.bind,
            "PORT": str(self.environment.port),
            "INDEX_BIND": self.environment.index_bind,
            "INDEX_PORT": str(self.environment.index_port),
            "EGRESS_PROXY_PORT": str(self.environment.engine.egress_proxy_port),
            "PUBLIC_URL": self.environment.public_url,
            "DATA_DIR": str(self.environment.data_dir),
            "DJANGO_SETTINGS_MODULE": "portal.settings",
            "PYTHONUNBUFFERED": "1",
        }
        return self.environ | settled

    def _no_grace(self, number: int, frame: FrameType | None) -> None:
        self._hurry = True


def say(line: str) -> None:
    """One line on the terminal, at once. A terminal that is gone is no reason to stop."""
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except OSError:
        pass


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _say_logins(environment: Environment) -> None:
    if environment.production:
        return
    path = environment.data_dir / "demo.json"
    say(f"\n  {'sign in as':<12}{'role':<12}password")
    for login in json.loads(path.read_text()):
        say(f"  {login['username']:<12}{login['role']:<12}{login['password']}")
    say(f"\nThe same with API tokens: {path}")
    say(f"Index for sandboxes: {environment.index_url}   Logs: {environment.data_dir / 'logs'}")
    say("Ctrl-C stops everything.")
