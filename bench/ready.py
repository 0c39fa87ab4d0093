"""From the request to a sandbox that is proven and ready, one at a time, on a real cluster.

    KUBECONFIG=… KUBE_CONTEXT=… .venv/bin/python -m bench.ready [--sandboxes 20] [--index-bind ADDRESS]

The worker is this process (its crew), the package index a process of its own that the
probe must reach at an address of this machine. Each sandbox is ended and seen gone before
the next is asked for, so that nothing runs but the one that is measured. The time is the
database's: from the row's creation to `ready_at`. The first, which also makes the canary,
is reported by itself: it comes once in the life of a cluster.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bench.world import ROOT, end_on_sigterm, free_port, installation, load, say

if TYPE_CHECKING:
    from sandboxes.lifecycle.crew import Crew
    from sandboxes.lifecycle.models import Sandbox

PATIENCE = 120.0  # seconds, for one sandbox
_NOWHERE = "http://127.0.0.1:9/simple/"  # nothing is installed here


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sandboxes", type=int, default=20)
    parser.add_argument("--index-bind", default="", help="an address of this machine that pods reach")
    options = parser.parse_args()
    end_on_sigterm()
    address, port = options.index_bind or _own_address(), free_port()
    index = {"INDEX_BIND": address, "INDEX_PORT": str(port), "INDEX_UPSTREAM": _NOWHERE}
    with installation(INDEX_URL=f"http://{address}:{port}", **index), _index(address, port):
        return run(options)


def run(options: argparse.Namespace) -> int:
    from django.conf import settings

    from sandboxes.cluster.canary import canary_namespace
    from sandboxes.cluster.spec import Labels
    from sandboxes.lifecycle import clusters, registry
    from sandboxes.lifecycle.crew import Crew

    registry.ensure_environment_cluster()
    crew = Crew(settings.WORKER_HANDS)
    crew.start()
    before, seconds = load(), []
    try:
        for number in range(options.sandboxes + 1):
            sandbox = _open(crew)
            seconds.append(_seconds(sandbox))
            say(f"{number or 'first':>5} {seconds[-1]:6.2f} s   {_steps(sandbox)}")
            _end(sandbox, crew)
    finally:
        crew.rest(10)
        cluster = clusters.get(settings.CLUSTER_NAME)
        cluster.delete_canary(canary_namespace(settings.INSTALLATION_ID))
        for left in cluster.namespaces(settings.INSTALLATION_ID):  # of one that was given up on
            if Labels.SANDBOX in left.labels:
                cluster.delete_namespace(left.name, left.uid)
    _report(seconds[1:], before)
    return 0


def _seconds(sandbox: "Sandbox") -> float:
    """From the request to ready, by the database's clock."""
    if sandbox.ready_at is None:
        raise SystemExit(f"{sandbox} never became ready.")
    return (sandbox.ready_at - sandbox.created_at).total_seconds()


def _report(seconds: list[float], before: str) -> None:
    ordered = sorted(seconds)
    p95 = ordered[max(0, -(-len(ordered) * 95 // 100) - 1)]
    say(f"{len(ordered)} sandboxes, one at a time; {before} before, {load()} after")
    say(f"  p50 {statistics.median(ordered):.2f} s   p95 {p95:.2f} s   max {ordered[-1]:.2f} s")
    say("  median of each step, in ms: " + ", ".join(_medians()))


def _medians() -> Iterator[str]:
    """From the step log, in the order in which they happen; the first sandbox left out."""
    from sandboxes.lifecycle.models import Sandbox, Step

    found: dict[str, list[float]] = defaultdict(list)
    steps = Step.objects.filter(sandbox_id__gt=Sandbox.objects.order_by("id").values("id")[:1])
    for step in steps.exclude(ended_at=None).filter(sandbox__receipt__isnull=False).order_by("id"):
        if step.ended_at is not None and step.ended_at <= (step.sandbox.ready_at or step.ended_at):
            found[step.name].append((step.ended_at - step.started_at).total_seconds() * 1000)
    for name, each in found.items():
        yield f"{name} {statistics.median(each):.0f}"


def _steps(sandbox: "Sandbox") -> str:
    """When each step ended, in seconds since the request."""
    steps = sandbox.steps.exclude(ended_at=None).order_by("id")
    return "  ".join(
        f"{step.name} {(step.ended_at - sandbox.created_at).total_seconds():.2f}"
        for step in steps
        if step.ended_at
    )


def _open(crew: "Crew") -> "Sandbox":
    from portal.accounts.models import User
    from sandboxes.lifecycle import services
    from sandboxes.lifecycle.phases import Phase

    sandbox = services.open_sandbox(
        owner=User.objects.get(),
        profile="python",
        lease=timedelta(hours=1),
        data_class="public",
        tools=[],
        by=None,
    )
    crew.wake()
    _until(sandbox, {Phase.READY})
    return sandbox


def _end(sandbox: "Sandbox", crew: "Crew") -> None:
    from portal.accounts.models import User
    from sandboxes.lifecycle import services
    from sandboxes.lifecycle.phases import Phase

    services.end(sandbox.pk, by=User.objects.get())
    crew.wake()
    _until(sandbox, {Phase.ENDED})


def _until(sandbox: "Sandbox", phases: set[str]) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        sandbox.refresh_from_db()
        if sandbox.phase in phases:
            return
        if sandbox.failure or time.monotonic() > end:
            raise SystemExit(f"{sandbox} is {sandbox.phase}: {sandbox.failure or sandbox.last_error}")
        time.sleep(0.05)


@contextmanager
def _index(address: str, port: int) -> Iterator[None]:
    """`python -m sandboxes.index`, from when it answers."""
    process = subprocess.Popen([sys.executable, "-m", "sandboxes.index"], cwd=ROOT, env=os.environ)
    try:
        end = time.monotonic() + 30
        while True:
            try:
                socket.create_connection((address, port), 1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    raise SystemExit("The index did not start.") from None
                time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(20)


def _own_address() -> str:
    """The address of this machine on the way to the API server: pods reach that one too, mostly."""
    from kubernetes import config

    client = config.new_client_from_config(  # type: ignore[no-untyped-call]
        os.environ["KUBECONFIG"], os.environ.get("KUBE_CONTEXT")
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((urlsplit(client.configuration.host).hostname or "", 9))
        return str(probe.getsockname()[0])


if __name__ == "__main__":
    sys.exit(main())
