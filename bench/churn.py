"""A thousand sandboxes made and taken away on the simulated cluster: what is left, and what it cost.

    .venv/bin/python -m bench.churn [--sandboxes 1000] [--at-once 50] [--hands 8] [--allocations]

Each goes the whole way: reserved, sealed, proven, ready, ended, seen gone, receipt. This
process is the worker (its crew), so its memory is the worker's; it is printed after every
hundred, and compared between a fifth of the way and the end, since the first sandboxes fill
caches and pools. Exit code 1 if anything is left: in the cluster, of the quota, in the rows.
"""

import argparse
import gc
import logging
import sys
import time
import tracemalloc
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import psutil

from bench.world import installation, load, say
from tests.simulator import Simulator

if TYPE_CHECKING:
    from sandboxes.lifecycle.crew import Crew

_EVERY = 100
_WARM = 0.2  # of all: what has grown by then are caches and pools


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sandboxes", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=50)
    parser.add_argument("--hands", type=int, default=8)
    parser.add_argument("--allocations", action="store_true", help="show where memory grew; slow")
    options = parser.parse_args()
    with (
        TemporaryDirectory() as folder,
        Simulator(Path(folder), "--delete-seconds=0.05", "--ready-seconds=0.02") as simulator,
        installation(),
    ):
        return run(options, simulator)


def run(options: argparse.Namespace, simulator: Simulator) -> int:
    from django.conf import settings

    from portal.accounts.models import User
    from sandboxes.lifecycle import quota, registry
    from sandboxes.lifecycle.amounts import NO_LIMITS
    from sandboxes.lifecycle.crew import Crew
    from sandboxes.lifecycle.models import RegisteredCluster
    from sandboxes.lifecycle.models.quota import Scope

    settings.KUBECONFIG = str(simulator.kubeconfig)
    quota.set_limits(Scope.PERSON, "", NO_LIMITS, by=User.objects.get())
    registry.ensure_environment_cluster()
    RegisteredCluster.objects.update(requests_per_second=100_000, burst=100_000, concurrency=options.hands)
    crew = Crew(options.hands)
    logging.disable(logging.WARNING)  # the canary's first seconds, a line for each sandbox
    crew.start()
    before, begin, spent = load(), time.monotonic(), time.process_time()
    memory = _churn(options, crew)
    seconds, spent = time.monotonic() - begin, time.process_time() - spent
    crew.rest(10)
    logging.disable(logging.NOTSET)
    count = options.sandboxes
    say(f"{count} made and gone in {seconds:.0f} s: {count / seconds:.1f}/s; {before} before, {load()} after")
    say(f"{spent / count * 1000:.0f} ms of the worker's CPU time each")
    warm, last = memory
    say(f"memory: {warm:.1f} MiB after {int(count * _WARM)}, {last:.1f} MiB at the end, {last - warm:+.1f}")
    left = dict(_left())
    for name, number in left.items():
        say(f"{number:5} {name}")
    return int(any(left.values()))


def _churn(options: argparse.Namespace, crew: "Crew") -> tuple[float, float]:
    """Until all are over; this process's memory in MiB after the first part, and at the end."""
    from portal.accounts.models import User
    from sandboxes.lifecycle import services
    from sandboxes.lifecycle.models import Sandbox
    from sandboxes.lifecycle.phases import LIVE, OVER, Phase

    owner = User.objects.get()
    made = over = told = 0
    warm: float | None = None
    begin = time.monotonic()
    while over < options.sandboxes:
        live = Sandbox.objects.filter(phase__in=LIVE).count()
        for _ in range(min(options.at_once - live, options.sandboxes - made)):
            _open(owner)
            made += 1
        for pk in Sandbox.objects.filter(phase=Phase.READY).values_list("pk", flat=True):
            services.end(pk, by=owner)
        crew.wake()
        over = Sandbox.objects.filter(phase__in=OVER).count()
        if warm is None and over >= options.sandboxes * _WARM:
            warm = _memory()
            if options.allocations:
                tracemalloc.start(12)
                first = tracemalloc.take_snapshot()
        if over // _EVERY > told:
            told = over // _EVERY
            say(f"{over:5} over   {over / (time.monotonic() - begin):5.1f}/s   {_memory():6.1f} MiB")
        time.sleep(0.05)
    if options.allocations:
        for line in tracemalloc.take_snapshot().compare_to(first, "traceback")[:12]:
            say("\n".join((str(line), *line.traceback.format()[-8:])))
    return warm or 0.0, _memory()


def _open(owner: object) -> None:
    from sandboxes.lifecycle import services

    services.open_sandbox(
        owner=owner,  # type: ignore[arg-type]
        profile="python",
        lease=timedelta(hours=1),
        data_class="public",
        tools=[],
        by=None,
    )


def _memory() -> float:
    """Resident, in MiB, after everything that nobody holds was given back."""
    gc.collect()
    return float(psutil.Process().memory_info().rss / 2**20)


def _left() -> Iterator[tuple[str, int]]:
    """Everything that there must be none of."""
    from django.conf import settings

    from sandboxes.audit.services import verify
    from sandboxes.cluster import observation
    from sandboxes.lifecycle import clusters, counting, observing
    from sandboxes.lifecycle.models import Alarm, Orphan, Sandbox
    from sandboxes.lifecycle.phases import Phase

    observing.observe(settings.CLUSTER_NAME)
    there = observation.listing(clusters.get(settings.CLUSTER_NAME), settings.INSTALLATION_ID).namespaces
    yield (
        "namespaces of sandboxes in the cluster",
        sum(1 for each in there.values() if _is_sandbox(each.labels)),
    )
    yield "orphans", Orphan.objects.count()
    yield "volumes", len(list(clusters.get(settings.CLUSTER_NAME).volumes(settings.INSTALLATION_ID)))
    yield "charged rows", Sandbox.objects.filter(charged=True).count()
    yield "sandboxes that quotas still count", sum(each.amount.sandboxes for each in counting.charges())
    yield "without a receipt", Sandbox.objects.filter(receipt=None).count()
    yield "failed", Sandbox.objects.filter(phase=Phase.FAILED).count()
    yield "still claimed or due", Sandbox.objects.exclude(leased_by=None, next_check_at=None).count()
    yield "with a token that works", Sandbox.objects.exclude(index_token_digest="").count()
    yield "alarms", Alarm.objects.filter(cleared_at=None).count()
    yield "broken entries of the ledger", int(not verify().ok)


def _is_sandbox(labels: object) -> bool:
    from sandboxes.cluster.spec import Labels

    return Labels.SANDBOX in labels  # type: ignore[operator]


if __name__ == "__main__":
    sys.exit(main())
