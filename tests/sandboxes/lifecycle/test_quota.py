"""Quotas: reserved once, given back on the receipt, and a queue that moves by itself."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from portal.accounts.models import User
from sandboxes.audit.models import Entry
from sandboxes.audit.services import verify
from sandboxes.cluster.quantities import add_bytes, add_cpu
from sandboxes.cluster.render import PROBE_CPU, PROBE_MEMORY
from sandboxes.errors import InvalidInputError, TemporaryError
from sandboxes.lifecycle import clock, counting, holds, offers, queries, quota, registry, services, switch
from sandboxes.lifecycle.amounts import NO_LIMITS, Amount, Limits
from sandboxes.lifecycle.models import Quota, RegisteredCluster, Sandbox
from sandboxes.lifecycle.models.quota import Scope
from sandboxes.lifecycle.moves import move
from sandboxes.lifecycle.phases import Phase

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


def wish(owner: User, profile: str = "python", department: str | None = None) -> Sandbox:
    return services.open_sandbox(
        owner=owner,
        department=owner.department if department is None else department,
        profile=profile,
        lease=HOUR,
        data_class="public",
        tools=[],
        by=None,
    )


def give_back(sandbox: Sandbox) -> None:
    """What the receipt does, in the move that closes."""
    sandbox.refresh_from_db()
    services.end(sandbox.pk, by=sandbox.owner)
    sandbox.refresh_from_db()
    assert move(sandbox, Phase.ENDED, charged=False)


def limit(scope: Scope, subject: str, **limits: int) -> None:
    Quota.objects.update_or_create(scope=scope, subject=subject, defaults=limits)


def phases(*sandboxes: Sandbox) -> list[str]:
    for sandbox in sandboxes:
        sandbox.refresh_from_db()
    return [sandbox.phase for sandbox in sandboxes]


# ---- what it takes


@pytest.mark.parametrize("name", ["python", "gpu"])
def test_the_demand_is_what_the_namespaces_own_quota_takes(name: str) -> None:
    profile = offers.profiles()[name]
    demand = quota.demand(profile)
    assert f"{demand.cpu_millis}m" == add_cpu(profile.cpu, PROBE_CPU)
    assert f"{demand.memory_mib}Mi" == add_bytes(profile.memory, PROBE_MEMORY)
    assert (demand.sandboxes, demand.gpus) == (1, profile.gpu)


def test_a_reservation_is_in_the_row(alice: User) -> None:
    sandbox = wish(alice)
    demand = quota.demand(offers.profiles()["python"])
    assert (sandbox.phase, sandbox.charged, sandbox.cluster) == (Phase.PENDING, True, "simulated")
    assert (sandbox.cpu_millis, sandbox.memory_mib) == (demand.cpu_millis, demand.memory_mib)
    assert sandbox.department == "Research"


def test_ten_sandboxes_each_unless_an_admin_says_otherwise(alice: User) -> None:
    Quota.objects.get_or_create(scope="person", subject="", defaults={"sandboxes": 10})
    assert [wish(alice).phase for _ in range(11)] == [Phase.PENDING] * 10 + [Phase.QUEUED]


# ---- full means queued


def test_full_means_queued_with_a_position_and_the_reason(alice: User, bob: User) -> None:
    limit(Scope.PERSON, "alice", sandboxes=1)
    first, second, third = wish(alice), wish(alice), wish(alice)
    assert phases(first, second, third) == [Phase.PENDING, Phase.QUEUED, Phase.QUEUED]
    assert [quota.position(each) for each in (first, second, third)] == [0, 1, 2]
    assert (second.charged, second.cluster, second.next_check_at) == (False, "", None)
    assert queries.status(third) == (
        "Approved; it starts as soon as there is room. It is number 2 in the queue. "
        "alice: 1 of 1 sandbox, this would make 2."
    )
    assert wish(bob).phase == Phase.PENDING
    entry = Entry.objects.get(subject=f"sandbox:{second.pk}")
    assert (entry.action, entry.data["reasons"]) == (
        "sandbox.queued",
        ["alice: 1 of 1 sandbox, this would make 2."],
    )


def test_room_goes_to_the_first_in_the_queue_and_only_with_the_receipt(alice: User) -> None:
    limit(Scope.PERSON, "alice", sandboxes=1)
    first, second, third = wish(alice), wish(alice), wish(alice)
    services.end(first.pk, by=alice)
    assert quota.admit() == 0  # it is still being torn down
    first.refresh_from_db()
    move(first, Phase.ENDED, charged=False)
    assert quota.admit() == 1
    assert phases(second, third) == [Phase.PENDING, Phase.QUEUED]
    assert (second.charged, second.cluster, second.last_error) == (True, "simulated", "")
    assert second.next_check_at is not None
    assert quota.position(third) == 1
    assert quota.admit() == 0
    assert verify().ok


def test_a_newcomer_does_not_pass_who_waits_for_the_same(alice: User, bob: User, iris: User) -> None:
    big, small = (quota.demand(offers.profiles()[name]) for name in ("data-science", "python"))
    limit(Scope.DEPARTMENT, "Lab", cpu_millis=big.cpu_millis + small.cpu_millis - 1)
    first = wish(alice, department="Lab")
    waits = wish(bob, "data-science", department="Lab")
    late, elsewhere = wish(iris, department="Lab"), wish(iris, department="Sales")
    assert phases(first, waits, late, elsewhere) == ["pending", "queued", "queued", "pending"]
    give_back(first)
    assert quota.admit() == 1
    assert phases(waits, late) == [Phase.PENDING, Phase.QUEUED]


def test_a_limit_on_a_profile_counts_everybodys(alice: User, bob: User) -> None:
    limit(Scope.PROFILE, "python", sandboxes=1)
    assert [wish(alice).phase, wish(bob).phase, wish(bob, "notebook").phase] == [
        "pending",
        "queued",
        "pending",
    ]


def test_a_clusters_capacity_is_a_quota_too(alice: User) -> None:
    registry.ensure_environment_cluster()
    RegisteredCluster.objects.update(max_sandboxes=1)
    first, second = wish(alice), wish(alice)
    assert phases(first, second) == [Phase.PENDING, Phase.QUEUED]
    assert second.last_error == "Cluster simulated is full: 1 of 1 sandbox are taken."


def test_an_untrusted_cluster_takes_nothing_and_the_queue_says_why(alice: User, ada: User) -> None:
    registry.distrust("simulated", reason="The seal of a sandbox did not hold.")
    sandbox = wish(alice)
    assert sandbox.phase == Phase.QUEUED
    assert "Cluster simulated is not trusted at the moment; an admin has to look at it." in queries.status(
        sandbox
    )
    assert quota.admit() == 0
    registry.trust("simulated", by=ada, reason="The network plugin was put right.")
    assert quota.admit() == 1
    assert phases(sandbox) == [Phase.PENDING]


def test_those_who_wait_are_told_the_newest_reason(alice: User) -> None:
    limit(Scope.PERSON, "alice", sandboxes=1)
    wish(alice)
    waits = wish(alice)
    limit(Scope.PERSON, "alice", sandboxes=0)
    quota.admit()
    waits.refresh_from_db()
    assert waits.last_error == "alice: at most 0 sandboxes, and one alone takes 1."


def test_nobody_is_admitted_while_everything_is_paused(alice: User, ada: User) -> None:
    limit(Scope.PERSON, "alice", sandboxes=0)
    waits = wish(alice)
    limit(Scope.PERSON, "alice", sandboxes=1)
    switch.pause(ada, "An upgrade of the cluster.")
    assert quota.admit() == 0
    switch.resume(ada)
    assert quota.admit() == 1
    assert phases(waits) == [Phase.PENDING]


def test_who_was_disabled_gives_up_their_place(alice: User, bob: User) -> None:
    limit(Scope.PROFILE, "python", sandboxes=0)
    theirs, others = wish(alice), wish(bob)
    User.objects.filter(pk=alice.pk).update(is_active=False)
    quota.admit()
    assert phases(theirs, others) == [Phase.ENDING, Phase.QUEUED]
    assert quota.position(others) == 1


def test_a_profile_that_is_gone_gives_up_its_place(alice: User) -> None:
    limit(Scope.PERSON, "alice", sandboxes=0)
    waits = wish(alice)
    Sandbox.objects.update(profile="gone")
    quota.admit()
    assert phases(waits) == [Phase.ENDING]
    assert "no profile" in waits.failure


def test_a_queued_sandbox_may_be_extended_and_ended(alice: User) -> None:
    limit(Scope.PERSON, "alice", sandboxes=0)
    waits = wish(alice)
    services.extend(sandbox_id=waits.pk, add=HOUR, by=alice)
    waits.refresh_from_db()
    assert (waits.lease, waits.next_check_at, waits.phase) == (2 * HOUR, None, Phase.QUEUED)
    services.end(waits.pk, by=alice)
    waits.refresh_from_db()
    assert waits.phase == Phase.ENDING
    assert waits.next_check_at is not None


def test_an_extension_takes_nothing_more(alice: User) -> None:
    sandbox = wish(alice)
    before = list(counting.charges())
    services.extend(sandbox_id=sandbox.pk, add=HOUR, by=alice)
    assert list(counting.charges()) == before


# ---- looked at again before anything is made


def test_a_lowered_limit_takes_nothing_back(alice: User) -> None:
    sandbox = wish(alice)
    limit(Scope.PERSON, "alice", sandboxes=0)
    quota.recheck(sandbox)
    assert (sandbox.phase, sandbox.charged) == (Phase.PENDING, True)


def test_a_cluster_distrusted_meanwhile_makes_nothing_for_it(alice: User) -> None:
    sandbox = wish(alice)
    registry.distrust("simulated", reason="A seal failed.")
    with pytest.raises(TemporaryError, match="is not trusted at the moment"):
        quota.recheck(sandbox)
    RegisteredCluster.objects.create(name="other", source="in-cluster")
    quota.recheck(sandbox)
    assert (sandbox.cluster, sandbox.charged, sandbox.phase) == ("other", True, Phase.PENDING)


def test_what_was_never_reserved_is_reserved_then(alice: User) -> None:
    sandbox = Sandbox.objects.create(
        cluster="simulated", owner=alice, profile="python", data_class="public", lease=HOUR
    )
    limit(Scope.PERSON, "alice", sandboxes=0)
    with pytest.raises(TemporaryError, match="alice: at most 0 sandboxes"):
        quota.recheck(sandbox)
    limit(Scope.PERSON, "alice", sandboxes=1)
    quota.recheck(sandbox)
    assert sandbox.charged
    assert sandbox.cpu_millis == quota.demand(offers.profiles()["python"]).cpu_millis


def test_a_profile_that_grew_is_charged_anew(alice: User) -> None:
    sandbox = wish(alice)
    Sandbox.objects.update(profile="data-science")
    sandbox.refresh_from_db()
    quota.recheck(sandbox)
    assert sandbox.memory_mib == quota.demand(offers.profiles()["data-science"]).memory_mib


# ---- the arithmetic


def test_the_arithmetic_of_what_fits(alice: User) -> None:
    Quota.objects.all().delete()
    limit(Scope.PERSON, "", sandboxes=10)
    limit(Scope.DEPARTMENT, "Research", memory_mib=20 * 1024)
    wish(alice)
    wish(alice)
    found = quota.arithmetic(alice, "Research", "python")
    assert (found.fits, found.position) == (True, None)
    assert [line.text for line in found.lines] == [
        "You: 2 of 10 sandboxes, this makes 3.",
        "Department Research: 2.12 of 20 GiB of memory, this makes 3.19.",
    ]
    assert Sandbox.objects.count() == 2


def test_the_arithmetic_of_what_does_not_fit_says_what_would_have_to_end(alice: User, bob: User) -> None:
    Quota.objects.all().delete()
    limit(Scope.PERSON, "", sandboxes=2)
    limit(Scope.DEPARTMENT, "Research", sandboxes=2)
    first, second = wish(alice), wish(alice)
    queued = wish(bob, department="Research")
    found = quota.arithmetic(alice, "Research", "python")
    assert (found.fits, found.position) == (False, 2)
    mine, departments = found.lines
    assert mine.text == "You: 2 of 2 sandboxes, this would make 3."
    assert mine.remedy == f"One of these would have to end: {second}, {first}."
    assert departments.remedy == "1 of its 2 sandboxes would have to end. Those in front come first."
    assert str(queued) not in departments.remedy


def test_nobody_is_told_to_end_what_cannot_be_ended(alice: User, ada: User) -> None:
    limit(Scope.PERSON, "alice", sandboxes=2)
    kept, free = wish(alice), wish(alice)
    holds.hold(kept.pk, until=clock.now() + timedelta(days=3), reason="A lawsuit", by=ada)
    remedy = quota.arithmetic(alice, "", "python").lines[0].remedy
    assert remedy == f"One of these would have to end: {free}."

    holds.hold(free.pk, until=clock.now() + timedelta(days=3), reason="A lawsuit", by=ada)
    remedy = quota.arithmetic(alice, "", "python").lines[0].remedy
    assert remedy == f"{free}, {kept} cannot be ended now: isolated, or under legal hold."


def test_the_arithmetic_knows_what_is_on_its_way_out(alice: User) -> None:
    limit(Scope.PERSON, "alice", sandboxes=1)
    services.end(wish(alice).pk, by=alice)
    found = quota.arithmetic(alice, "", "python")
    assert found.lines[0].remedy == "Enough of it is being torn down; it is free with the receipts."


def test_the_arithmetic_of_what_never_fits(alice: User) -> None:
    limit(Scope.DEPARTMENT, "Research", cpu_millis=500)
    found = quota.arithmetic(alice, "Research", "python")
    assert not found.fits
    assert "An admin would have to raise the limit." in [line.remedy for line in found.lines]
    assert not found.possible


def test_the_arithmetic_says_when_no_cluster_takes_it(alice: User) -> None:
    registry.distrust("simulated", reason="A seal failed.")
    found = quota.arithmetic(alice, "Research", "python")
    assert (found.fits, found.lines[-1].text) == (
        False,
        "Cluster simulated is not trusted at the moment; an admin has to look at it.",
    )


# ---- cost


def test_sums_go_over_what_is_charged_by_its_index() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(
            "EXPLAIN SELECT cluster, count(*), sum(cpu_millis) FROM lifecycle_sandbox WHERE charged GROUP BY 1"
        )
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "sandbox_charged" in plan


def test_reserving_takes_the_same_queries_however_much_there_is(alice: User) -> None:
    Quota.objects.all().delete()
    wish(alice)
    with CaptureQueriesContext(connection) as few:
        wish(alice)
    for sandbox in [wish(alice) for _ in range(10)]:
        give_back(sandbox)
    limit(Scope.PERSON, "alice", sandboxes=0)
    for _ in range(10):
        wish(alice)
    with CaptureQueriesContext(connection) as many:
        wish(alice)
    assert len(many) <= len(few)


# ---- admins


def test_an_admin_sets_limits_and_the_ledger_has_both(ada: User) -> None:
    quota.set_limits(Scope.DEPARTMENT, " Research ", Limits(sandboxes=3, gpus=1), by=ada)
    quota.set_limits(Scope.DEPARTMENT, "Research", Limits(sandboxes=5), by=ada)
    entry = Entry.objects.order_by("-id")[0]
    assert (entry.action, entry.subject, entry.actor) == ("quota.changed", "quota:department:Research", "ada")
    assert entry.data["before"]["gpus"] == 1
    assert entry.data["after"] == {"sandboxes": 5, "cpu_millis": None, "memory_mib": None, "gpus": None}
    quota.set_limits(Scope.DEPARTMENT, "Research", NO_LIMITS, by=ada)
    assert not Quota.objects.filter(scope="department").exists()


@pytest.mark.parametrize("limits", [Limits(sandboxes=-1), Limits(cpu_millis=3_000_000_000)])
def test_a_limit_that_is_none_is_refused(ada: User, limits: Limits) -> None:
    with pytest.raises(InvalidInputError):
        quota.set_limits(Scope.PERSON, "alice", limits, by=ada)
    assert not Entry.objects.exists()


def test_the_overview_has_defaults_named_subjects_and_who_has_most(alice: User, bob: User) -> None:
    Quota.objects.all().delete()
    limit(Scope.PERSON, "", sandboxes=2)
    limit(Scope.PERSON, "bob", gpus=1)
    wish(alice)
    wish(alice)
    waits = wish(alice)
    found = quota.overview()
    people = {use.subject: use for use in found.uses if use.scope == Scope.PERSON}
    assert list(people) == ["", "bob", "alice"]
    assert people["bob"].limits == Limits(sandboxes=2, gpus=1)
    assert people["bob"].own == Limits(gpus=1)
    assert people["alice"].used.sandboxes == 2
    assert [(place.position, place.sandbox) for place in found.queue] == [(1, waits)]
    assert found.queue[0].reasons == ("alice: 2 of 2 sandboxes, this would make 3.",)


# ---- fifty at once


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


def test_amounts_add_up() -> None:
    assert Amount(1, 2, 3, 4) + Amount(1, 1, 1, 1) - Amount(1) == Amount(1, 3, 4, 5)
