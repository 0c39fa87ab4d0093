"""The simulated cluster as a process: state, controllers and HTTP together."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn

from sandboxes.cluster.simulator.controllers.garbage import Garbage
from sandboxes.cluster.simulator.controllers.loop import Loop
from sandboxes.cluster.simulator.controllers.namespaces import Namespaces
from sandboxes.cluster.simulator.controllers.pods import Pods
from sandboxes.cluster.simulator.controllers.quotas import Quotas
from sandboxes.cluster.simulator.controllers.statefulsets import StatefulSets
from sandboxes.cluster.simulator.controllers.workloads import Workloads
from sandboxes.cluster.simulator.http import application
from sandboxes.cluster.simulator.objects import Objects
from sandboxes.cluster.simulator.resources import (
    ALL,
    DEPLOYMENTS,
    JOBS,
    NAMESPACES,
    PODS,
    QUOTAS,
    REPLICA_SETS,
    STATEFUL_SETS,
)
from sandboxes.cluster.simulator.seed import seed
from sandboxes.cluster.simulator.store import Store
from sandboxes.cluster.simulator.watch import Watches


@dataclass(frozen=True, slots=True)
class Options:
    """How to run. Times are seconds; `port` 0 takes a free one."""

    data: Path
    port: int = 0
    delete_seconds: float = 1.0
    ready_seconds: float = 0.3
    history: int = 20_000


class _Server(uvicorn.Server):
    """Ends open watches as soon as it is told to stop, instead of waiting for their clients."""

    def __init__(self, config: uvicorn.Config, watches: Watches) -> None:
        super().__init__(config)
        self._watches = watches

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM and SIGINT."""
        self._watches.close()
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Like uvicorn's, but a signal that was handled is not raised again: the exit code is 0."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


async def serve(options: Options) -> None:
    """Until SIGTERM or SIGINT. Prints one line when ready."""
    options.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    store = Store(options.data / "cluster.sqlite3", history=options.history)
    objects, watches = Objects(store), Watches(store)
    loop = _controllers(objects, options)
    seed(objects)
    token = _token(options.data / "token")
    listener = _listen(options.port)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = uvicorn.Config(
        application(objects, watches, token),
        access_log=False,
        log_level="warning",
        lifespan="off",
        timeout_graceful_shutdown=1,
        timeout_keep_alive=75,
    )
    write_private(options.data / "kubeconfig", kubeconfig(url, token))
    server = _Server(config, watches)
    controllers = asyncio.create_task(loop.run())
    controllers.add_done_callback(lambda _: server.handle_exit(signal.SIGTERM, None))
    print(f"The simulated cluster is ready: {url}", flush=True)  # noqa: T201 - whoever started us waits for it
    try:
        await server.serve(sockets=[listener])
    finally:
        controllers.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await controllers
        store.close()


def _listen(port: int) -> socket.socket:
    """asyncio switches Nagle's delay off only for sockets that name their protocol."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(1024)  # from here on a client may come, even before we serve
    except OSError:
        listener.close()
        raise
    return listener


def _controllers(objects: Objects, options: Options) -> Loop:
    loop = Loop(objects)
    workloads = Workloads(objects)
    loop.handle(Garbage(objects).reconcile, *ALL)
    loop.handle(Namespaces(objects, delete_seconds=options.delete_seconds).reconcile, NAMESPACES)
    loop.handle(Quotas(objects).reconcile, QUOTAS)
    loop.handle(workloads.deployment, DEPLOYMENTS)
    loop.handle(workloads.replica_set, REPLICA_SETS)
    loop.handle(StatefulSets(objects).reconcile, STATEFUL_SETS)
    loop.handle(workloads.job, JOBS)
    loop.handle(Pods(objects, ready_seconds=options.ready_seconds).reconcile, PODS)
    return loop


def kubeconfig(url: str, token: str) -> str:
    """A kubeconfig with one context, as JSON, which is YAML."""
    name = "simulated"
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": {"server": url}}],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "current-context": name,
        },
        indent=1,
    )


def _token(path: Path) -> str:
    """The same token after a restart, so that running clients go on."""
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32))
    return path.read_text()


def write_private(path: Path, text: str) -> None:
    """Write a whole file that only we may read, or leave the old one."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.replace(path)
