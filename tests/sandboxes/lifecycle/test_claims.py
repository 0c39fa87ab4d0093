"""Who works on which row: one worker at a time, whatever several of them do, and however one dies."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta

import pytest
from django.db import connection

from portal.accounts.models import User
from sandboxes.lifecycle import claims, clock, engine, switch
from sandboxes.lifecycle.models import RegisteredCluster, Sandbox
from sandboxes.lifecycle.phases import Phase
from tests.sandboxes.lifecycle.another_worker import another_worker, said
from tests.sandboxes.lifecycle.rows import due

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def worker() -> Iterator[None]:
    """This process as a worker, which has left when the test is over."""
    yield
    claims.leave()


def taken(limit: int = 100) -> list[int]:
    return [claim.sandbox_id for claim in claims.take(limit)]


def test_a_claimed_row_is_nobody_elses(alice: User) -> None:
    first, second = due(alice), due(alice)
    assert taken(1) == [first.pk]
    with another_worker("claim", "10") as other:
        assert said(other) == [second.pk]
        assert taken() == []
        assert claims.take_one(second.pk) is None
        engine.reconcile(second.pk)  # does nothing, and waits for nothing


def test_who_died_holds_nothing(alice: User) -> None:
    """After a `kill -9` the row is taken over at once, though its lease has half a minute to go."""
    sandbox = due(alice)
    with another_worker("claim", "10") as other:
        assert said(other) == [sandbox.pk]
        sandbox.refresh_from_db()
        assert sandbox.leased_until is not None
        assert sandbox.leased_until > clock.now() + timedelta(seconds=10)
        other.kill()
        killed = time.monotonic()
        while not (found := taken()):
            assert time.monotonic() < killed + 1
    assert found == [sandbox.pk]


def test_a_worker_that_lives_but_says_nothing_loses_its_lease(alice: User) -> None:
    """Its connection may be held open by a machine that is no longer there."""
    sandbox = due(alice)
    with another_worker("claim", "10") as other:
        assert said(other) == [sandbox.pk]
        Sandbox.objects.update(leased_until=clock.Now())
        assert taken() == [sandbox.pk]


def test_the_living_renew_their_leases(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "RENEW_SECONDS", 0.05)
    sandbox = due(alice)
    (claim,) = claims.take(1)
    Sandbox.objects.update(leased_until=clock.now() + timedelta(seconds=1))
    time.sleep(0.5)
    sandbox.refresh_from_db()
    assert sandbox.leased_until is not None
    assert sandbox.leased_until > clock.now() + timedelta(seconds=20)
    claims.forget(claim)  # a thread that was cut off no longer works on it, though its process lives
    time.sleep(0.2)
    Sandbox.objects.update(leased_until=clock.Now())
    time.sleep(0.3)
    assert taken() == [sandbox.pk]


def test_a_worker_whose_own_connection_broke_stops_what_it_does(alice: User) -> None:
    due(alice)
    (claim,) = claims.take(1)
    assert claims.holds(claim)
    lost = claims.holder()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [lost.connection.info.backend_pid])
    deadline = time.monotonic() + 5
    while claims.holds(claim):
        assert time.monotonic() < deadline
    lost.leave()
    again = claims.take(1)  # others could have had it; it has a new number
    assert [each.sandbox_id for each in again] == [claim.sandbox_id]
    assert again[0].holder != claim.holder
    claims.let_go(claim, phase=Phase.READY, seen=None, wait=timedelta())  # from the life before
    assert claims.holds(again[0])


def test_several_processes_and_threads_share_the_work_and_no_row(alice: User) -> None:
    ids = sorted(due(alice).pk for _ in range(60))

    def compete() -> list[int]:
        had: list[int] = []
        try:
            while found := taken(3):
                had += found
        finally:
            connection.close()
        return had

    with ExitStack() as stack:
        RegisteredCluster.objects.update_or_create(name="simulated", defaults={"concurrency": 100})
        others = [stack.enter_context(another_worker("compete", "1")) for _ in range(2)]
        for other in others:
            assert other.stdin is not None
            other.stdin.write("go\n")
            other.stdin.flush()
        with ThreadPoolExecutor(4) as pool:
            ours = [pool.submit(compete) for _ in range(4)]
            had = [number for future in ours for number in future.result()]
        had += [number for other in others for number in said(other)]
    assert sorted(had) == ids


class TestRoom:
    """How many of one cluster may be worked on."""

    def register(self, **changes: object) -> None:
        RegisteredCluster.objects.update_or_create(name="simulated", defaults=changes)

    def test_concurrency_counts_all_workers_together(self, alice: User) -> None:
        self.register(concurrency=3)
        for _ in range(5):
            due(alice)
        elsewhere = due(alice, cluster="elsewhere")
        with another_worker("claim", "2") as other:
            assert len(said(other)) == 2
            mine = taken()
            assert elsewhere.pk in mine
            assert len(mine) == 2  # one of the three, and the one of the other cluster

    def test_a_row_given_back_makes_room(self, alice: User) -> None:
        self.register(concurrency=1)
        first, second = due(alice), due(alice)
        (claim,) = claims.take(5)
        assert claims.take_one(second.pk) is None
        claims.let_go(claim, phase=first.phase, seen=first.next_check_at, wait=timedelta(hours=1))
        assert taken() == [second.pk]

    def test_an_open_breaker_is_passed_by_and_half_open_lets_one_through(self, alice: User) -> None:
        rows = [due(alice) for _ in range(3)]
        self.register(failures=3, open_until=clock.now() + timedelta(minutes=1))
        assert taken() == []
        assert claims.take_one(rows[0].pk) is None
        self.register(failures=3, open_until=clock.now())
        assert len(taken()) == 1
        assert taken() == []

    def test_paused_nothing_is_claimed_and_what_is_held_goes_no_further(self, alice: User, ada: User) -> None:
        first, second = due(alice), due(alice)
        (claim,) = claims.take(1)
        switch.pause(ada, "The cluster moves house.")
        assert not claims.holds(claim)
        assert claims.take_one(second.pk) is None
        assert engine.sweep() == 0
        switch.resume(ada)
        assert claims.holds(claim)
        assert taken() == [second.pk]
        assert claim.sandbox_id == first.pk


class TestLettingGo:
    def test_the_next_look_is_set(self, alice: User) -> None:
        sandbox = due(alice)
        (claim,) = claims.take(1)
        claims.let_go(claim, phase=sandbox.phase, seen=sandbox.next_check_at, wait=timedelta(hours=1))
        sandbox.refresh_from_db()
        assert (sandbox.leased_by, sandbox.leased_until) == (None, None)
        assert sandbox.next_check_at is not None
        assert timedelta(minutes=59) < sandbox.next_check_at - clock.now() <= timedelta(hours=1)

    def test_news_that_came_meanwhile_is_not_put_off(self, alice: User) -> None:
        """An extension, or an observation, says "now" while a step still looks at how it was before."""
        sandbox = due(alice)
        (claim,) = claims.take(1)
        Sandbox.objects.update(next_check_at=clock.Now())
        claims.let_go(claim, phase=sandbox.phase, seen=sandbox.next_check_at, wait=timedelta(hours=1))
        assert taken() == [sandbox.pk]


def test_a_backlog_of_one_cluster_costs_the_others_nothing(alice: User) -> None:
    """What waits for a cluster that is down is not gone through to find work for another."""
    RegisteredCluster.objects.create(name="down", open_until=clock.now() + timedelta(minutes=1), failures=9)
    owner = {"owner": alice, "profile": "python", "data_class": "public", "lease": timedelta(hours=1)}
    Sandbox.objects.bulk_create(
        Sandbox(**owner, cluster="down", phase=Phase.READY, next_check_at=clock.now()) for _ in range(5000)
    )
    sandbox = due(alice, cluster="up")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE lifecycle_sandbox")
    began = time.monotonic()
    assert taken() == [sandbox.pk]
    assert time.monotonic() - began < 0.5


def test_threads_of_one_process_do_not_share_a_row(alice: User) -> None:
    due(alice)
    start, had = threading.Barrier(4), []

    def one() -> None:
        start.wait()
        had.extend(taken(1))
        connection.close()

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(had) == 1
