"""The processes that a benchmark of the index has around it, and the sandboxes that may use it."""

import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import aiohttp
import psutil

_TOKEN = "bench-token"  # noqa: S105 -- of an installation that lives for a minute
_PATIENCE = 60.0  # seconds until a process that does not answer is a failure
_CALM = 0.05  # of a core: a process that uses less is idle
_UNTIL_CALM = 60.0  # seconds


@contextmanager
def module(name: str, *arguments: str, log: Path | None = None, **environ: str) -> Iterator[psutil.Process]:
    """`python -m name`, with what this process has in its environment and `environ`."""
    with program([sys.executable, "-m", name, *arguments], os.environ | environ, log=log) as process:
        yield process


@contextmanager
def program(
    command: list[str], environ: Mapping[str, str], *, log: Path | None = None, folder: Path | None = None
) -> Iterator[psutil.Process]:
    """`log`: takes all that it says; None: nobody listens."""
    with (log or Path(os.devnull)).open("wb") as said:
        process = subprocess.Popen(command, env=environ, stdout=said, stderr=said, cwd=folder)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def index(folder: Path, port: int, upstream: str, **environ: str) -> Iterator[psutil.Process]:
    """The index's parent process, once its workers serve. `upstream`: the URL of an index's pages."""
    log = folder / "index.log"
    given = {"INDEX_UPSTREAM": upstream, "INDEX_PORT": str(port)} | environ
    with module("sandboxes.index", log=log, **given) as process:
        try:
            answers(port, "/readyz")
        except SystemExit as error:
            raise SystemExit(f"{error}\n{log.read_text()}") from None
        yield process


def wait_for(port: int) -> None:
    """Until something listens there."""
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"nothing listens on port {port}")


def answers(port: int, path: str) -> None:
    """Until that path is a 200."""
    until, status = time.monotonic() + _PATIENCE, 0
    while time.monotonic() < until:
        connection = HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
        try:
            connection.request("GET", path)
            status = connection.getresponse().status
        except (OSError, HTTPException):
            status = 0
        finally:
            connection.close()
        if status == 200:
            return
        time.sleep(0.05)
    raise SystemExit(f"{path} on port {port} does not answer ({status or 'no connection'})")


def calm(process: psutil.Process) -> None:
    """Until the process and its children do nothing, so that they take nothing from who is measured next."""
    until, used = time.monotonic() + _UNTIL_CALM, cpu(process)
    while time.monotonic() < until:
        time.sleep(0.2)
        before, used = used, cpu(process)
        if used - before <= 0.2 * _CALM:
            return


def cpu(process: psutil.Process) -> float:
    """Seconds that it and its children have used."""
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def sandbox(name: str = "bench") -> str:
    """A ready sandbox's credentials, as a header's value."""
    from django.utils import timezone

    from portal.accounts.models import User
    from sandboxes.lifecycle.models import Sandbox

    Sandbox.objects.create(
        name=name,
        namespace=name,
        cluster="simulated",
        owner=User.objects.get(username="bench"),
        profile="python",
        data_class="public",
        phase="ready",
        lease=timedelta(hours=8),
        expires_at=timezone.now() + timedelta(hours=8),
        index_token_digest=hashlib.sha256(_TOKEN.encode()).hexdigest(),
    )
    return authorization(name)


def authorization(name: str = "bench", token: str = _TOKEN) -> str:
    return aiohttp.encode_basic_auth(name, token)


def url(port: int, name: str = "bench") -> str:
    """What a client in that sandbox is given, without a slash at the end."""
    return f"http://{name}:{_TOKEN}@127.0.0.1:{port}/simple"
