"""Everything that may go wrong between a worker and its cluster, many times over, and it all ends well."""

import logging
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from django.conf import settings

from portal.accounts.models import User
from sandboxes.cluster.driver import Cluster, connect
from sandboxes.cluster.names import sandbox_name
from sandboxes.lifecycle.models import Sandbox
from tests.fault_proxy import FAULTS, Choice, Fault, FaultProxy, Request, seeded
from tests.sandboxes.lifecycle import whole_lives
from tests.sandboxes.lifecycle.test_limits import at_work
from tests.sandboxes.lifecycle.whole_lives import (
    STALL_SECONDS,
    Ends,
    always_at,
    beat,
    check_the_end,
    live_until_over,
)
from tests.sandboxes.lifecycle.workers_to_kill import nursery
from tests.simulator import Simulator

pytestmark = pytest.mark.django_db(transaction=True)

SEED: Final = 3
SHARE: Final = 0.03  # of the requests meet a fault: three in a life, and those that a repeated step meets
LIVES: Final = 100  # to be 500, once they fit into a minute and a half
EACH: Final = 10  # sandboxes that one person may have at once; the others queue


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Simulator]:
    """One for each test: the mark of an emptied ledger would look like a restored database."""
    with Simulator(tmp_path, "--delete-seconds=0.05", "--ready-seconds=0.02") as running:
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
        if request.about in namespaces and request.method == "PATCH" and "/deployments/" in request.target:
            return "403"
        return otherwise(request, number)

    return choose


def test_seeded_lives_through_a_cluster_that_fails_in_every_way(
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
    choose, ends = refusing(names, seeded(SEED, share=SHARE)), Ends(ids)
    with FaultProxy(simulator.port, choose, stall_seconds=STALL_SECONDS) as proxy:
        way = whole_lives.kubeconfig_through(simulator.kubeconfig, proxy.url, tmp_path)
        monkeypatch.setattr(settings, "KUBECONFIG", str(way))
        with at_work(8) as crew, beat() as done:
            crew.wake()
            live_until_over(ids, ends, each=EACH, seconds=900)
    print(f"\nMet: {dict(proxy.met)}. Done beside: {dict(done)}.")  # noqa: T201 -- for whoever runs it with -s
    assert all(proxy.met[fault] >= 2 for fault in FAULTS), proxy.met
    assert sum(proxy.met.values()) > len(ids)
    check_the_end(ids, ends, directly, failed=refused)


def _name(sandbox: Sandbox) -> str:
    owner = sandbox.owner.get_username()
    return sandbox_name(owner, sandbox.profile, sandbox.pk, installation_id=settings.INSTALLATION_ID)


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
    ids = whole_lives.open_many(employees[:6], 60)
    ends, dice, killed = Ends(ids), random.Random(SEED), 0
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

        live_until_over(ids, ends, each=EACH, seconds=300, meanwhile=kill_and_replace)
    print(f"\nKilled: {killed}.")  # noqa: T201
    assert killed >= 30
    check_the_end(ids, ends, directly)
