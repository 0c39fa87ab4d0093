"""Other caching indexes in front of the same upstream: nginx as a proxy, proxpi, devpi, simple-repository-server.

Each is run as its own documentation says, in an environment of its own: those that the tests have too are
theirs (`tests/index/clients.py`), proxpi's is made the same way from `proxpi.txt`. Who cannot be had is
left out, with a line that says why. None of them knows policy, identity or a record.
"""

import base64
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin, urlsplit
from urllib.request import Request, urlopen

import psutil
import pytest

from bench.index import running
from bench.index.nginx import Nginx
from bench.world import ROOT, free_port, say
from tests.index.clients import UV, environment

_PASSWORD = "of-the-mirror"  # noqa: S105 -- of a server on loopback that lives for a minute
_OWNER = "root"  # the user that devpi begins with
_PINS = Path(__file__).with_name("proxpi.txt")
_MAKING = 300  # seconds until a machine counts as one without a network
_PATIENCE = 60  # seconds
_JSON = "application/vnd.pypi.simple.v1+json"


@dataclass(frozen=True)
class Peer:
    name: str
    port: int
    root: str  # path of its pages, without a slash at the end
    process: psutil.Process

    def page(self, project: str) -> str:
        return f"{self.root}/{project}/"

    @property
    def url(self) -> str:
        """What an installer is given."""
        return f"http://127.0.0.1:{self.port}{self.root}"

    def file(self, project: str, filename: str) -> str:
        """The path of a file, as its page says it. Raises `LookupError`."""
        url = f"{self.url}/{project}/"
        with urlopen(Request(url, headers={"Accept": _JSON}), timeout=_PATIENCE) as answer:  # noqa: S310 -- on loopback
            files = json.load(answer)["files"]
        found: str = next(file["url"] for file in files if file["filename"] == filename)
        parts = urlsplit(urljoin(url, found))
        if parts.port != self.port:
            raise LookupError(f"{self.name} leaves {filename} to its upstream")
        return parts.path


@contextmanager
def peers(chosen: str, folder: Path, upstream: int, nginx: Nginx | None) -> Iterator[list[Peer]]:
    """Those of `chosen` ("none", "all" or names with commas between) that can be had, all running and idle."""
    names = NAMES if chosen == "all" else () if chosen == "none" else tuple(chosen.split(","))
    if unknown := set(names) - set(NAMES):
        raise SystemExit(f"there is no {', '.join(unknown)}; there are {', '.join(NAMES)}")
    url = f"http://127.0.0.1:{upstream}/simple/"
    found = [Peer(NGINX, nginx.proxy, "/simple", nginx.process)] if nginx and NGINX in names else []
    with ExitStack() as stack:
        for name in names:
            if name not in _STARTS:
                continue
            try:
                (folder / name).mkdir()
                found.append(stack.enter_context(_STARTS[name](folder / name, url)))
            except (_Lacking, OSError, subprocess.CalledProcessError) as error:
                say(f"{name} is left out: {error}")
        for peer in found:
            running.calm(peer.process)
        yield found


class _Lacking(Exception):  # noqa: N818
    """It cannot be had here."""


@contextmanager
def _proxpi(folder: Path, upstream: str) -> Iterator[Peer]:
    """As its own image does: one process, because its caches are a process's own, and two threads."""
    binary, port = _proxpi_environment() / "bin", free_port()
    options = ["--bind", f"127.0.0.1:{port}", "--threads", "2", "--log-level", "error"]
    command = [str(binary / "python"), "-m", "gunicorn", *options, "proxpi.server:app"]
    said = {"PROXPI_INDEX_URL": upstream, "PROXPI_LOGGING_LEVEL": "ERROR", "PROXPI_CACHE_DIR": str(folder)}
    with _server(command, folder, said) as process:
        running.answers(port, "/health")
        yield Peer("proxpi", port, "/index", process)


@contextmanager
def _devpi(folder: Path, upstream: str) -> Iterator[Peer]:
    binary, port = _environment("devpi") / "bin", free_port()
    data = ["--serverdir", str(folder / "data")]
    python = str(binary / "python")  # the scripts name one, which is elsewhere when the folder was moved
    made = [python, str(binary / "devpi-init"), *data, "--no-root-pypi", "--root-passwd", _PASSWORD]
    subprocess.run(made, check=True, capture_output=True, cwd=folder)
    command = [python, str(binary / "devpi-server"), *data, "--host", "127.0.0.1", "--port", str(port)]
    base = f"http://127.0.0.1:{port}"
    with _server(command, folder, {}) as process:
        running.answers(port, "/+api")
        token = _sent("POST", f"{base}/+login", {"user": _OWNER, "password": _PASSWORD})["result"]["password"]
        auth = base64.b64encode(f"{_OWNER}:{token}".encode()).decode()
        mirror = {"type": "mirror", "mirror_url": upstream, "mirror_no_project_list": True}
        _sent("PUT", f"{base}/{_OWNER}/mirror", mirror, {"X-Devpi-Auth": auth})
        yield Peer("devpi", port, f"/{_OWNER}/mirror/+simple", process)


@contextmanager
def _simple_repository(folder: Path, upstream: str) -> Iterator[Peer]:
    """It keeps no pages: each request is one to the upstream, as far away as that is."""
    port, binary = free_port(), _environment("simple-repository") / "bin"
    command = [str(binary / "python"), str(binary / "simple-repository-server")]
    options = ["--host", "127.0.0.1", "--port", str(port), "--stream-http-resources", upstream]
    with _server([*command, *options], folder, {}) as process:
        running.wait_for(port)
        yield Peer("simple-repository", port, "/simple", process)


_STARTS: dict[str, Callable[[Path, str], AbstractContextManager[Peer]]] = {
    "proxpi": _proxpi,
    "devpi": _devpi,
    "simple-repository": _simple_repository,
}
NGINX: Final = "nginx-proxy"
NAMES = (NGINX, *_STARTS)


def _server(
    command: list[str], folder: Path, environ: dict[str, str]
) -> AbstractContextManager[psutil.Process]:
    """It knows nothing of the machine's own settings."""
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
    return running.program(command, kept | {"HOME": str(folder)} | environ, log=folder / "log", folder=folder)


def _environment(name: str) -> Path:
    try:
        return environment(name)
    except pytest.skip.Exception as error:
        raise _Lacking(str(error)) from None


def _proxpi_environment() -> Path:
    """Made once, and kept with the project's data."""
    said = f"{_PINS.read_text()}\n{sys.base_prefix}\n{sys.version}"
    folder = ROOT / ".data" / "bench" / f"proxpi-{hashlib.sha256(said.encode()).hexdigest()[:12]}"
    if (folder / "whole").exists():
        return folder
    if UV is None:
        raise _Lacking("there is no uv")
    python = str(folder / "bin" / "python")
    _made([UV, "venv", "--clear", "--python", sys.executable, str(folder)])
    _made([UV, "pip", "install", "--python", python, "-r", str(_PINS)])
    (folder / "whole").touch()
    return folder


def _made(command: Sequence[str]) -> None:
    try:
        subprocess.run(
            [command[0], "--quiet", "--no-progress", *command[1:]],
            check=True,
            capture_output=True,
            text=True,
            timeout=_MAKING,
            cwd=tempfile.gettempdir(),  # uv would take the pins of the project that it stands in
        )
    except subprocess.CalledProcessError as error:
        raise _Lacking(str(error.stderr).strip().splitlines()[-1]) from None
    except subprocess.TimeoutExpired:
        raise _Lacking("no answer") from None


def _sent(method: str, url: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> Any:
    said = {"Accept": "application/json", "Content-Type": "application/json", **(headers or {})}
    request = Request(url, json.dumps(body).encode(), said, method=method)  # noqa: S310 -- on loopback
    with urlopen(request, timeout=_PATIENCE) as answer:  # noqa: S310
        return json.load(answer)
