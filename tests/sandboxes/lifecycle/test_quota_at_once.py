"""Many who reserve at the same time."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections, transaction

from portal.accounts.models import User
from sandboxes.audit.services import verify
from sandboxes.lifecycle import counting, quota, registry
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.models.quota import Scope
from sandboxes.lifecycle.phases import Phase
from tests.sandboxes.lifecycle.wishes import give_back, limit, phases, wish

pytestmark = pytest.mark.django_db


@pytest.fixture
def in_threads(transactional_db: None) -> Iterator[ThreadPoolExecutor]:
    """Fifty, who share the connections of the pool. The cluster is there: making it would be a queue of its own."""
    registry.ensure_environment_cluster()
    with ThreadPoolExecutor(50) as pool:
        yield pool


@pytest.mark.django_db(transaction=True)
def test_of_fifty_at_once_for_the_last_slot_one_gets_it(alice: User, in_threads: ThreadPoolExecutor) -> None:
    limit(Scope.DEPARTMENT, "Research", sandboxes=1)
    people = [User.objects.create_user(f"person-{number}", department="Research") for number in range(50)]
    together = threading.Barrier(50)

    def ask(person: User) -> Sandbox:
        try:
            together.wait(30)
            return wish(person)
        finally:
            connections.close_all()

    made = list(in_threads.map(ask, people))
    assert sorted(phases(*made)) == [Phase.PENDING] + [Phase.QUEUED] * 49
    waiting = [each for each in made if each.phase == Phase.QUEUED]
    assert sorted(quota.position(each) for each in waiting) == list(range(1, 50))
    assert sum(charge.amount.sandboxes for charge in counting.charges()) == 1
    assert verify().ok

    give_back(next(each for each in made if each.phase == Phase.PENDING))

    def admit(_: int) -> int:
        try:
            return quota.admit()
        finally:
            connections.close_all()

    assert sum(in_threads.map(admit, range(8))) == 1
    waiting.sort(key=lambda each: each.pk)
    assert phases(*waiting) == [Phase.PENDING] + [Phase.QUEUED] * 48
    assert sum(charge.amount.sandboxes for charge in counting.charges()) == 1


@pytest.mark.django_db(transaction=True)
def test_a_reservation_waits_for_the_one_before_it(
    alice: User, bob: User, in_threads: ThreadPoolExecutor
) -> None:
    """The lock is held to the end of the transaction, so nobody counts what is about to be taken."""
    limit(Scope.PROFILE, "python", sandboxes=1)

    def ask() -> str:
        try:
            return wish(bob).phase
        finally:
            connections.close_all()

    with transaction.atomic():
        first = wish(alice)
        other = in_threads.submit(ask)
        with pytest.raises(TimeoutError):
            other.result(0.5)
    assert (first.phase, other.result(30)) == (Phase.PENDING, Phase.QUEUED)
