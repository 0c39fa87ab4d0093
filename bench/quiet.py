"""One reconcile pass over ten thousand quiet sandboxes: what it asks of the database and of the cluster.

    .venv/bin/python -m bench.quiet [--sandboxes 10000] [--passes 5] [--budget 150]

The objects of every sandbox, rendered from the templates, are written into the simulated
cluster's store before it starts (their workspaces scaled to nothing, since pods are no part of
a listing); the rows say `ready`, and nothing of theirs is due. A pass is what beat asks for:
`engine.sweep`, `observing.observe`, `quota.admit` and `orphans.sweep`.

Database time is the time that this thread waits for PostgreSQL, fetches of streamed rows
included; statements are counted. Exit code 1 if the median pass takes more than the
budget, finds anything to do, or asks the cluster anything but paged lists.
"""

import argparse
import statistics
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from unittest import mock

import psutil
import psycopg

from bench.world import ROOT, installation, load, say
from tests.simulator import Simulator

if TYPE_CHECKING:
    from sandboxes.cluster.driver import Cluster
    from sandboxes.cluster.observation import SeenNamespace

_OWNERS = 500
_BATCH = 200


@dataclass
class Pass:
    """What one pass cost."""

    wall: float = 0.0  # seconds
    database: float = 0.0
    statements: int = 0
    requests: Counter[str] = field(default_factory=Counter)
    slowest: dict[str, float] = field(default_factory=lambda: defaultdict(float))  # milliseconds by statement
    work: dict[str, int] = field(default_factory=dict)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sandboxes", type=int, default=10_000)
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--budget", type=float, default=150.0, help="milliseconds of database time")
    parser.add_argument("--statements", action="store_true", help="also which statements took it")
    options = parser.parse_args()
    with TemporaryDirectory() as folder, installation(INSTALLATION_ID="bench-quiet"):
        begin = time.monotonic()
        fill(Path(folder), options.sandboxes)
        say(f"objects of {options.sandboxes} sandboxes made in {time.monotonic() - begin:.0f} s")
        with Simulator(Path(folder)) as simulator:
            return run(options, simulator)


def run(options: argparse.Namespace, simulator: Simulator) -> int:
    from django.conf import settings

    from sandboxes.lifecycle import clusters, registry
    from sandboxes.lifecycle.models import RegisteredCluster, Sandbox

    settings.KUBECONFIG = str(simulator.kubeconfig)
    registry.ensure_environment_cluster()
    RegisteredCluster.objects.update(requests_per_second=100_000, burst=100_000)
    cluster = clusters.get(settings.CLUSTER_NAME)
    _settle(simulator)
    _rows(cluster)
    say(f"{Sandbox.objects.count()} ready sandboxes; {load()}")
    process = psutil.Process()
    passes, memory = [], []
    for number in range(options.passes + 1):
        found = _pass(cluster)
        memory.append(process.memory_info().rss / 2**20)
        name = number or "first"
        say(
            f"{name:>5}  {found.database * 1000:6.1f} ms of database in {found.statements} statements, "
            f"{found.wall:.1f} s in all, {memory[-1]:.0f} MiB"
        )
        passes.append(found)
    return _report(options, passes[1:], memory)


def _report(options: argparse.Namespace, passes: list[Pass], memory: list[float]) -> int:
    median = statistics.median(each.database for each in passes) * 1000
    requests, last = passes[-1].requests, passes[-1]
    say(f"median {median:.1f} ms of database time (budget {options.budget:.0f}); {load()}")
    say(f"requests of one pass: {', '.join(f'{name} {count}' for name, count in sorted(requests.items()))}")
    say(f"memory from the first pass to the last: {memory[-1] - memory[0]:+.1f} MiB; work done: {last.work}")
    if options.statements:
        for sql, spent in sorted(last.slowest.items(), key=lambda pair: -pair[1])[:12]:
            say(f"  {spent:6.1f} ms  {sql[:150]}")
    unquiet = any(any(each.work.values()) for each in passes)
    others = any(not name.startswith("paged list") for each in passes for name in each.requests)
    return int(median > options.budget or unquiet or others)


# ---- what is there


def fill(folder: Path, count: int) -> None:
    """All objects of `count` sandboxes, by the simulated cluster's own rules, without its HTTP."""
    from sandboxes.cluster.simulator.objects import Objects
    from sandboxes.cluster.simulator.resources import ALL
    from sandboxes.cluster.simulator.seed import seed
    from sandboxes.cluster.simulator.store import Store

    store = Store(folder / "cluster.sqlite3", history=1000)
    objects = Objects(store)
    seed(objects)
    known = {(each.api_version, each.kind): each for each in ALL}
    for start in range(0, count, _BATCH):
        with store.transaction():
            for item in _objects(range(start, min(start + _BATCH, count))):
                metadata, resource = item["metadata"], known[item["apiVersion"], item["kind"]]
                where = metadata.get("namespace", ""), metadata["name"]
                objects.apply(resource, *where, item, manager="petridish", force=True)
    store.close()


def _objects(numbers: range) -> Iterator[dict[str, Any]]:
    from django.conf import settings

    from sandboxes.cluster.render import load_templates, render
    from sandboxes.cluster.spec import DnsAddress, SandboxSpec, Target

    templates = load_templates(ROOT / "k8s-templates")
    profile = templates.profiles["python"]
    spec = SandboxSpec(
        sandbox_id=1,
        installation_id=settings.INSTALLATION_ID,
        name="sbx",
        namespace="sbx",
        profile="python",
        owner="petridish:bench",
        expires_at=None,
        index_url="http://name:token@192.0.2.1:8081/simple/",
        index_host="192.0.2.1",
        index_port=8081,
        index_addresses=("192.0.2.1",),
        image=profile.image,
        cpu=profile.cpu,
        memory=profile.memory,
        storage=profile.storage,
        gpu=0,
        blocked_targets=(Target("api", "192.0.2.10", 6443),),
        dns=(DnsAddress("10.96.0.10"),),
    )
    for number in numbers:
        name = _name(number + 1)
        rendered = render(replace(spec, sandbox_id=number + 1, name=name, namespace=name), templates)
        for item in (*rendered.seal, *rendered.workspace, *rendered.access):
            if item["kind"] == "StatefulSet":
                item["spec"]["replicas"] = 0
            yield item


def _name(number: int) -> str:
    return f"sbx-bench-{number}"


def _rows(cluster: "Cluster") -> None:
    """A row for each namespace, as it is after a sandbox became ready and was looked at once."""
    from django.conf import settings

    from portal.accounts.models import User
    from sandboxes.cluster import observation
    from sandboxes.lifecycle.models import Sandbox

    owners = User.objects.bulk_create(
        [User(username=f"bench{number}", department=f"d{number % 20}") for number in range(_OWNERS)]
    )
    seen = observation.listing(cluster, settings.INSTALLATION_ID).namespaces
    numbered = sorted(seen.values(), key=lambda each: int(each.name.rpartition("-")[2]))
    rows = [_row(each, number + 1, owners[number % _OWNERS]) for number, each in enumerate(numbered)]
    Sandbox.objects.bulk_create(rows, batch_size=1000)
    _vacuum()


def _row(seen: "SeenNamespace", number: int, owner: Any) -> Any:
    from sandboxes.lifecycle import clock
    from sandboxes.lifecycle.models import Sandbox
    from sandboxes.lifecycle.phases import Phase

    before, after = clock.now() - timedelta(hours=2), clock.now() + timedelta(hours=40)
    return Sandbox(
        pk=number,
        name=seen.name,
        namespace=seen.name,
        namespace_uid=seen.uid,
        observed=seen.digest,
        cluster="simulated",
        simulated=True,
        owner=owner,
        department=owner.department,
        profile="python",
        data_class="public",
        phase=Phase.READY,
        lease=timedelta(hours=42),
        cpu_millis=1000,
        memory_mib=1024,
        charged=True,
        created_at=before,
        phase_at=before,
        ready_at=before,
        expires_at=after,
        expiry_shown=after,
        last_active_at=before,
        probe_due_at=after,
        next_check_at=after,
        index_token_digest=f"{number:064x}",
        teardown={},
    )


def _vacuum() -> None:
    """As autovacuum does within a minute, for an installation that has grown to this over months."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def _settle(simulator: Simulator) -> None:
    """Until its controllers have looked at everything that was there at the start."""
    process = psutil.Process(simulator.pid)
    process.cpu_percent()
    while True:
        time.sleep(1)
        if process.cpu_percent() < 10:
            return


# ---- one pass


def _pass(cluster: "Cluster") -> Pass:
    """What beat asks for, once."""
    from sandboxes.lifecycle import engine, observing, orphans, quota
    from sandboxes.lifecycle.models import RegisteredCluster

    found = Pass()
    with _counted_requests(cluster, found), _counted_statements(found), _counted_waits(found):
        begin = time.monotonic()
        found.work["worked"] = engine.sweep()
        for name in RegisteredCluster.objects.values_list("name", flat=True):
            seen = observing.observe(name)
            found.work |= {"marked": seen.marked, "orphans": seen.orphans}
        found.work["admitted"] = quota.admit()
        found.work["orphans worked on"] = orphans.sweep()
        found.wall = time.monotonic() - begin
    return found


@contextmanager
def _counted_requests(cluster: "Cluster", found: Pass) -> Iterator[None]:
    """At the one place where the driver makes a request."""
    answer = cluster.api._answer  # noqa: SLF001

    def count(method: str, path: str, query: Any = None, *args: Any, **more: Any) -> Any:
        kind = "paged list" if method == "GET" and "limit" in (query or {}) else method
        found.requests[f"{kind} {path}"] += 1
        return answer(method, path, query, *args, **more)

    with mock.patch.object(cluster.api, "_answer", count):
        yield


@contextmanager
def _counted_statements(found: Pass) -> Iterator[None]:
    from django.db import connection

    def note(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        found.statements += 1
        begin = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            found.slowest[" ".join(sql.split())] += (time.perf_counter() - begin) * 1000

    with connection.execute_wrapper(note):
        yield


@contextmanager
def _counted_waits(found: Pass) -> Iterator[None]:
    """Whatever this thread sends to PostgreSQL, and until its answer is there: commits and fetches too."""
    wait, me = psycopg.Connection.wait, threading.get_ident()

    def timed(connection: Any, *args: Any, **more: Any) -> Any:
        if threading.get_ident() != me:
            return wait(connection, *args, **more)
        begin = time.perf_counter()
        try:
            return wait(connection, *args, **more)
        finally:
            found.database += time.perf_counter() - begin

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(psycopg.Connection, "wait", timed))
        yield


if __name__ == "__main__":
    sys.exit(main())
