"""How hard a cluster is worked, and that one which is down delays its own sandboxes and nobody else's."""

import json
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from portal.accounts.models import User
from sandboxes.cluster.driver import Cluster
from sandboxes.errors import ClusterRefusedError, ClusterUnavailableError
from sandboxes.lifecycle import clock, clusters, engine, limits, vault
from sandboxes.lifecycle.models import Alarm, RegisteredCluster, Sandbox
from sandboxes.lifecycle.models.cluster import Source
from sandboxes.lifecycle.phases import Phase
from tests.fault_proxy import FaultProxy
from tests.sandboxes.lifecycle.beside import at_work
from tests.sandboxes.lifecycle.rows import due
from tests.simulator import Simulator, free_port

pytestmark = pytest.mark.django_db

NO_ANSWER = ClusterUnavailableError("Cluster a does not answer: connection refused")
BUSY = ClusterUnavailableError("Cluster a refused GET /api/v1/pods (429): wait", retry_after=30)


@pytest.fixture(autouse=True)
def fresh() -> None:
    limits.forget()


def register(name: str = "a", **changes: object) -> None:
    RegisteredCluster.objects.update_or_create(name=name, defaults=changes)


def row(name: str = "a") -> RegisteredCluster:
    return RegisteredCluster.objects.get(name=name)


def closed_for(name: str = "a") -> float:
    """Seconds; 0 if the breaker is closed."""
    until = row(name).open_until
    return max(0.0, (until - clock.now()).total_seconds()) if until else 0.0


class TestBucket:
    def test_a_burst_at_once_and_then_the_rate(self) -> None:
        register(requests_per_second=100.0, burst=20, tokens=20.0, tokens_at=clock.now())
        pace = limits.pacer("a")
        began = time.monotonic()
        for _ in range(70):
            pace()
        took = time.monotonic() - began
        assert 0.35 < took < 1.5  # 50 more than the burst, at 100 a second

    def test_one_statement_pays_for_many_requests(self) -> None:
        register(requests_per_second=200.0, burst=200, tokens=200.0)
        pace = limits.pacer("a")
        with CaptureQueriesContext(connection) as captured:
            for _ in range(100):
                pace()
        assert len(captured) <= 8

    def test_all_processes_draw_from_one(self) -> None:
        register(requests_per_second=100.0, burst=10, tokens=0.0, tokens_at=clock.now())
        ours, theirs = limits._Pacer("a"), limits._Pacer("a")  # each process has one
        began = time.monotonic()
        for _ in range(30):
            ours()
            theirs()
        assert time.monotonic() - began > 0.35

    def test_one_token_at_a_time_where_the_rate_is_low(self) -> None:
        register(requests_per_second=5.0, burst=1, tokens=1.0, tokens_at=clock.now())
        pace = limits.pacer("a")
        began = time.monotonic()
        for _ in range(3):
            pace()
        assert 0.3 < time.monotonic() - began < 2

    def test_no_request_leaves_while_the_breaker_is_open(self) -> None:
        register(open_until=clock.now() + timedelta(seconds=20), failures=3)
        with pytest.raises(ClusterUnavailableError, match="left alone") as refused:
            limits.pacer("a")()
        assert refused.value.retry_after is not None
        assert 10 < refused.value.retry_after <= 20
        assert not limits.is_its_own(refused.value)  # it was we who did not ask


class TestBreaker:
    def test_opens_after_failures_in_a_row_for_longer_each_time_with_a_cap(self) -> None:
        register()
        pauses = []
        for _ in range(9):
            limits.failed("a", NO_ANSWER)
            pauses.append(round(closed_for()))
            register(open_until=clock.now())  # time passes
        assert pauses == [0, 0, 5, 10, 20, 40, 60, 60, 60]

    def test_what_fails_together_counts_once(self) -> None:
        """Eight threads that waited for the same stalled server are one sign, not eight."""
        register(failures=2)
        for _ in range(8):
            limits.failed("a", NO_ANSWER)
        assert row().failures == 3
        assert closed_for() <= 5

    def test_a_success_closes_it(self) -> None:
        register(failures=4, open_until=clock.now(), last_error="refused")
        limits.succeeded("a")
        assert (row().failures, row().open_until, row().last_error) == (0, None, "")
        assert row().last_ok_at is not None

    def test_retry_after_is_honoured_at_once(self) -> None:
        register()
        limits.failed("a", BUSY)
        assert 25 < closed_for() <= 30

    def test_what_is_not_the_clusters_fault_does_not_count(self) -> None:
        register()
        waiting = ClusterUnavailableError("Namespace sbx is still being deleted.", retry_after=2)
        conflict = ClusterUnavailableError(
            "Cluster a refused PATCH /api/v1/x (409): the object has been modified", retry_after=1
        )
        for error in (waiting, conflict, ClusterRefusedError("no")):
            limits.failed("a", error)
        assert (row().failures, closed_for()) == (0, 0.0)

    def test_people_are_told_when_it_lasts_and_when_it_is_over(self) -> None:
        register()
        for _ in range(limits.DOWN_AFTER - 1):
            limits.failed("a", NO_ANSWER)
            register(open_until=clock.now())
        assert not Alarm.objects.exists()
        limits.failed("a", NO_ANSWER)
        told = Alarm.objects.get(kind="cluster_down", subject="cluster:a", cleared_at=None)
        assert "connection refused" in told.message
        limits.succeeded("a")
        told.refresh_from_db()
        assert told.cleared_at is not None

    def test_work_that_asked_nothing_tells_nothing(self) -> None:
        register(failures=4)
        with limits.watching("a"):
            pass
        assert row().failures == 4
        with limits.watching("a"):
            limits.pacer("a")()
        assert row().failures == 0

    @pytest.mark.parametrize(("answered", "in_a_row"), [(0, 5), (1, 1)])
    def test_a_failure_after_answers_is_not_one_more_in_a_row(self, answered: int, in_a_row: int) -> None:
        register(failures=4)

        def fail_after() -> None:
            with limits.watching("a"):
                limits.pacer("a")()  # this one fails, and the work goes on
                limits.passed_over()
                for _ in range(answered):
                    limits.pacer("a")()
                limits.pacer("a")()
                raise NO_ANSWER

        with pytest.raises(ClusterUnavailableError):
            fail_after()
        assert row().failures == in_a_row

    def test_a_refusal_is_an_answer(self) -> None:
        register(failures=4)

        def forbidden() -> None:
            with limits.watching("a"):
                limits.pacer("a")()
                raise ClusterRefusedError("forbidden")

        with pytest.raises(ClusterRefusedError):
            forbidden()
        assert row().failures == 0


# ---- clusters that do not work, beside one that does


def register_at(name: str, simulator: Simulator, port: int) -> None:
    """A cluster with the simulator's credentials that answers, or does not, at that port."""
    config = json.loads(simulator.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = f"http://127.0.0.1:{port}"
    kept = vault.encrypt(name, json.dumps(config))
    context = config["current-context"]
    register(name, source=Source.KUBECONFIG, kubeconfig=kept, context=context)


def stuck_there(owner: User, name: str, number: int) -> list[Sandbox]:
    """Sandboxes that are to be taken away on that cluster; longer overdue than any other."""
    overdue = clock.now() - timedelta(minutes=1)
    return [
        due(owner, cluster=name, phase=Phase.ENDING, namespace=f"{name}-{n}", next_check_at=overdue)
        for n in range(number)
    ]


def wait_until(holds: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def wait_for_ready(sandbox: Sandbox, seconds: float) -> None:
    wait_until(lambda: Sandbox.objects.get(pk=sandbox.pk).phase == Phase.READY, seconds)


@pytest.mark.django_db(transaction=True)
def test_a_cluster_that_lets_every_request_hang_keeps_only_its_own_share_of_the_hands(
    sandbox: Sandbox, cluster: Cluster, alice: User, simulator: Simulator
) -> None:
    with at_work(4) as crew:
        with FaultProxy(simulator.port, lambda request, number: "stall", stall_seconds=30) as proxy:
            register_at("slow", simulator, proxy.port)
            hanging = stuck_there(alice, "slow", 8)
            began = time.monotonic()
            crew.wake()
            wait_for_ready(sandbox, seconds=20)
            assert time.monotonic() - began < 25  # before the first of them gave up
            assert Sandbox.objects.filter(cluster="slow", leased_by__isnull=False).count() == 2
        assert {each.phase for each in Sandbox.objects.filter(pk__in=[h.pk for h in hanging])} == {"ending"}


@pytest.mark.django_db(transaction=True)
def test_a_cluster_that_is_gone_delays_its_own_sandboxes_and_is_found_again(
    sandbox: Sandbox, cluster: Cluster, alice: User, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_FIRST_PAUSE", 0.5)
    register_at("gone", simulator, free_port())
    waiting = stuck_there(alice, "gone", 12)
    with at_work(4) as crew:
        crew.wake()
        wait_for_ready(sandbox, seconds=20)
        wait_until(lambda: row("gone").failures >= limits.HALF_OPEN_AFTER)
        untouched = Sandbox.objects.filter(cluster="gone", attempts=0).count()
        assert untouched > 0  # the breaker kept them from trying, one after the other
        register_at("gone", simulator, simulator.port)  # it is back
        Sandbox.objects.filter(cluster="gone").update(next_check_at=clock.now())
        ours = Sandbox.objects.filter(pk__in=[each.pk for each in waiting])
        wait_until(lambda: not ours.exclude(phase=Phase.ENDED).exists())
    assert row("gone").failures == 0


def test_half_open_one_sandbox_asks_and_the_others_wait_for_what_it_learns(
    alice: User, simulator: Simulator
) -> None:
    register_at("gone", simulator, free_port())
    register("gone", failures=3, open_until=clock.now())
    stuck_there(alice, "gone", 5)
    assert engine.sweep() == 1
    assert row("gone").failures == 4
    assert closed_for("gone") > 5
    clusters.get.cache_clear()
