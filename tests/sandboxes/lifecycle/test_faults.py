"""Everything that may go wrong between a worker and its cluster, many times over, and it all ends well."""

import logging
import random
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Final

import psutil
import pytest
from django.conf import settings

from portal.accounts.models import User
from sandboxes.cluster.driver import Cluster, connect
from sandboxes.cluster.names import sandbox_name
from sandboxes.lifecycle import clock
from sandboxes.lifecycle.models import Sandbox
from tests.fault_proxy import FAULTS, Choice, Fault, FaultProxy, Request, seeded
from tests.sandboxes.lifecycle import another_clock, whole_lives
from tests.sandboxes.lifecycle.beside import always_at, at_work, beat
from tests.sandboxes.lifecycle.whole_lives import STALL_SECONDS, Ends, check_the_end, live_until_over
from tests.sandboxes.lifecycle.workers_to_kill import nursery
from tests.simulator import MODULE, Simulator

# The same numbers, and so the same names and the same faults, each time: a seed tells what happens.
pytestmark = pytest.mark.django_db(transaction=True, reset_sequences=True)

SEEDS: Final = (1, 2, 3, 4, 5)
LIVES: Final = 100  # of each seed
SHARE: Final = 0.03  # of the requests meet a fault: three in a life, and those that a repeated step meets
EACH: Final = 10  # sandboxes that one person may have at once; the others queue


@pytest.fixture
def simulator(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Simulator]:
    """One for each test: the mark of an emptied ledger would look like a restored database."""
    minutes = getattr(request, "param", 0)  # that its clock is off
    run = (another_clock.NAME, str(minutes)) if minutes else (MODULE,)
    with Simulator(tmp_path, "--delete-seconds=0.05", "--ready-seconds=0.02", run=run) as running:
        yield running


@pytest.fixture
def directly(simulator: Simulator) -> Iterator[Cluster]:
    """For looking at the cluster itself."""
    cluster = connect("directly", str(simulator.kubeconfig), None)
    yield cluster
    cluster.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Shorter waits, a ledger's anchor of its own, and nothing remembered of another test's cluster."""
    whole_lives.shorten_waits(monkeypatch.setattr)
    monkeypatch.setattr(settings, "LEDGER_ANCHOR", tmp_path / "anchor")
    monkeypatch.setattr(logging.getLogger("sandboxes"), "level", logging.CRITICAL)
    monkeypatch.setattr(logging.getLogger("urllib3"), "level", logging.CRITICAL)
    whole_lives.forget()
    yield
    whole_lives.forget()


@pytest.fixture
def employees(db: None) -> list[User]:
    return [User.objects.create_user(f"employee-{number}") for number in range(45)]


def refusing(namespaces: set[str], otherwise: Choice) -> Choice:
    """In these nothing may run: an answer that waiting does not change."""

    def choose(request: Request, number: int) -> Fault | None:
        if request.about in namespaces and request.method == "PATCH" and "/statefulsets/" in request.target:
            return "403"
        return otherwise(request, number)

    return choose


@pytest.mark.parametrize("seed", SEEDS)
def test_500_seeded_lives_through_a_cluster_that_fails_in_every_way(
    seed: int,
    simulator: Simulator,
    directly: Cluster,
    employees: list[User],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What fails for a while only delays. A sandbox fails where the cluster refuses it for good, and nowhere else."""
    whole_lives.set_limits(each=EACH)
    ids = whole_lives.open_many(employees, LIVES)
    refused = {number for number in ids if number % 50 == 7}
    names = {_name(sandbox) for sandbox in Sandbox.objects.filter(pk__in=refused).select_related("owner")}
    choose, ends = refusing(names, seeded(seed, share=SHARE)), Ends(ids)
    with FaultProxy(simulator.port, choose, stall_seconds=STALL_SECONDS) as proxy:
        way = whole_lives.kubeconfig_through(simulator.kubeconfig, proxy.url, tmp_path)
        monkeypatch.setattr(settings, "KUBECONFIG", str(way))
        with at_work(8) as crew, beat() as done:
            crew.wake()
            live_until_over(ids, ends, each=EACH, seconds=600)
    print(f"\nMet: {dict(proxy.met)}. Done beside: {dict(done)}.")  # noqa: T201 -- for whoever runs it with -s
    assert all(proxy.met[fault] * len(SEEDS) >= 20 for fault in FAULTS), proxy.met
    assert sum(proxy.met.values()) > 2 * len(ids)
    check_the_end(ids, ends, directly, failed=refused)


def test_nothing_of_the_proxy_is_left_open() -> None:
    """Nor of what it opened, whatever was under way: an answer half read, an answer held back, nothing asked yet."""

    def stall(request: Request, number: int) -> Fault | None:
        return "stall" if request.target == "/stall" else None

    with ExitStack() as stack:
        upstream = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = upstream.getsockname()[1]
        with FaultProxy(port, stall) as proxy:
            long, stalled, _ = (
                stack.enter_context(socket.create_connection(("127.0.0.1", proxy.port))) for _ in range(3)
            )
            long.sendall(b"GET /long HTTP/1.1\r\n\r\n")
            stack.enter_context(_answered_at_length(upstream))
            assert long.recv(1) == b"H"  # and no more is read
            stalled.sendall(b"GET /stall HTTP/1.1\r\n\r\n")
            while not proxy.met["stall"]:
                time.sleep(0.01)
            assert (_open_to(port), _open_to(proxy.port)) == (1, 3)
        assert (_open_to(port), _open_from(proxy.port)) == (0, 0)


def _answered_at_length(upstream: socket.socket) -> socket.socket:
    """What the next caller of this server asks; more than all buffers on the way hold."""
    body = b"x" * 2**25
    connection = upstream.accept()[0]
    connection.recv(4096)
    connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    return connection


def _open_to(port: int) -> int:
    """Connections of this process to that port."""
    return sum(bool(one.raddr) and one.raddr.port == port for one in psutil.Process().net_connections("tcp"))


def _open_from(port: int) -> int:
    """Sockets of this process at that port, the one that listens included."""
    return sum(one.laddr.port == port for one in psutil.Process().net_connections("tcp"))


def _name(sandbox: Sandbox) -> str:
    owner = sandbox.owner.get_username()
    return sandbox_name(owner, sandbox.profile, sandbox.pk, installation_id=settings.INSTALLATION_ID)


@pytest.mark.parametrize("simulator", [-10, 10], indirect=True)
def test_a_cluster_whose_clock_is_ten_minutes_off(
    simulator: Simulator, directly: Cluster, employees: list[User], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it writes down and what the database does are never compared."""
    directly.uid()
    assert abs(directly.api.now() - clock.now()) > timedelta(minutes=9)
    monkeypatch.setattr(settings, "KUBECONFIG", str(simulator.kubeconfig))
    whole_lives.set_limits(each=EACH)
    ids = whole_lives.open_many(employees[:1], 4)
    ends = Ends([])
    with at_work(4) as crew, beat(0.3):
        crew.wake()
        live_until_over(ids, ends, each=EACH, seconds=60)
    check_the_end(ids, ends, directly)
    for row in Sandbox.objects.select_related("receipt"):
        told = [row.ready_at, row.workloads_gone_at, row.ended_at, row.receipt.at]
        assert all(moment and abs(moment - clock.now()) < timedelta(minutes=5) for moment in told)


def test_two_workers_and_one_row(
    simulator: Simulator, directly: Cluster, employees: list[User], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are always at it, whether it is due or not; each thing is done once."""
    monkeypatch.setattr(settings, "KUBECONFIG", str(simulator.kubeconfig))
    ids = whole_lives.open_many(employees, 1)
    with always_at(ids[0]), always_at(ids[0]):
        live_until_over(ids, Ends([]), each=1, seconds=60)
    check_the_end(ids, Ends([]), directly)


def test_workers_killed_at_any_moment_lose_nothing(
    simulator: Simulator, directly: Cluster, employees: list[User]
) -> None:
    """Two processes at work. Each is killed within its first few steps, and another one started in its place.

    Counted in steps of both, for a machine that is busy with other things may be slow.
    """
    whole_lives.set_limits(each=EACH)
    ids = whole_lives.open_many(employees[:6], 40)
    ends, dice, killed = Ends(ids), random.Random(SEEDS[0]), 0
    with nursery(3, KUBECONFIG=str(simulator.kubeconfig)) as born:
        lives = [(born.worker(), dice.randint(1, 40)) for _ in range(2)]

        def kill_and_replace() -> None:
            nonlocal killed
            taken = whole_lives.steps_taken()
            for place, (number, until) in enumerate(lives):
                if taken >= until:
                    born.kill(number)
                    killed += 1
                    lives[place] = born.worker(), taken + dice.randint(1, 40)

        live_until_over(ids, ends, each=EACH, seconds=600, meanwhile=kill_and_replace)
    print(f"\nKilled: {killed}.")  # noqa: T201
    assert killed >= 30
    check_the_end(ids, ends, directly)
