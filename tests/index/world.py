"""An upstream, an index process before it and sandboxes that may use it: what every client here is pointed at."""

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from django.utils import timezone

from portal.accounts.models import User
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import Phase
from tests.sandboxes.index.conftest import PORTAL, database_url
from tests.sandboxes.index.upstream_server import UpstreamServer
from tests.settings_read import ROOT
from tests.simulator import free_port

TOKEN = "dish-token"
# By the name of each sandbox: its profile, which some have a policy for (`policy.py`).
SANDBOXES = {
    "dish": "python",
    "frozen": "frozen",
    "listed": "listed",
    "strict": "strict",
    "screened": "screened",
}
PATIENCE = 30.0  # seconds until a process that does not answer is a failure

# What the process waits for screening is shortened by what is in here: nobody screens.
_IMPATIENT = Path(__file__).with_name("impatient")


class World:
    """No dataclass: its whole upstream would be shown with each test that fails."""

    def __init__(self, upstream: UpstreamServer, origin: str, log: Path) -> None:
        """`origin`: of the index; `log`: what it says."""
        self.upstream = upstream
        self.origin = origin
        self.log = log

    def url(self, sandbox: str = "dish", token: str = TOKEN) -> str:
        """What a client in that sandbox is given, without a slash at the end."""
        return f"{self.origin.replace('://', f'://{sandbox}:{token}@')}/simple"


class Loop:
    """An event loop in a thread of its own, so that a server can answer while a test waits for a process."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run[T](self, work: Coroutine[Any, Any, T]) -> T:
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(PATIENCE)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()


@contextmanager
def started(folder: Path, **settings: str) -> Iterator[World]:
    """Both servers; the database has the sandboxes already. `settings`: of the index, besides."""
    loop, upstream, port = Loop(), UpstreamServer(), free_port()
    loop.run(upstream.start())
    world = World(upstream, f"http://127.0.0.1:{port}", folder / "index.log")
    with world.log.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "sandboxes.index"],
            cwd=ROOT,
            env=os.environ
            | {
                "DATABASE_URL": database_url(),
                "INDEX_UPSTREAM": upstream.url,
                "INDEX_PORT": str(port),
                "INDEX_PROCESSES": "2",  # what one of them knows and the other does not makes no difference
                "DATA_DIR": str(folder),
                "PUBLIC_URL": PORTAL,
                "PYTHONPATH": f"{_IMPATIENT}{os.pathsep}{ROOT}",
            }
            | settings,
            stderr=log,
        )
    try:
        until_up(f"{world.origin}/readyz", process, world.log)
        yield world
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
        loop.run(upstream.stop())
        loop.close()


def until_up(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = monotonic() + PATIENCE
    while monotonic() < end and process.poll() is None:
        try:
            with urlopen(url, timeout=PATIENCE):  # noqa: S310 -- on loopback
                return
        except URLError:
            sleep(0.05)
    raise AssertionError(f"{url} does not answer:\n{log.read_text()}")


def make_sandboxes() -> None:
    alice = User.objects.create_user("alice")
    for name, profile in SANDBOXES.items():
        Sandbox.objects.create(
            name=name,
            namespace=name,
            cluster="simulated",
            owner=alice,
            profile=profile,
            data_class="public",
            phase=Phase.READY,
            lease=timedelta(hours=1),
            expires_at=timezone.now() + timedelta(hours=1),
            index_token_digest=hashlib.sha256(TOKEN.encode()).hexdigest(),
        )
