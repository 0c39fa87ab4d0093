"""Quotas: reserved once, given back on the receipt, and a queue that moves by itself."""

import pytest

from portal.accounts.models import User
from sandboxes.audit.models import Entry
from sandboxes.audit.services import verify
from sandboxes.cluster.quantities import add_bytes, add_cpu
from sandboxes.cluster.render import PROBE_CPU, PROBE_MEMORY
from sandboxes.errors import InvalidInputError, TemporaryError
from sandboxes.lifecycle import counting, offers, queries, quota, registry, services, switch
from sandboxes.lifecycle.amounts import NO_LIMITS, Limits
from sandboxes.lifecycle.models import Quota, RegisteredCluster, Sandbox
from sandboxes.lifecycle.models.quota import Scope
from sandboxes.lifecycle.moves import move
from sandboxes.lifecycle.phases import Phase
from tests.sandboxes.lifecycle.wishes import HOUR, give_back, limit, phases, wish

pytestmark = pytest.mark.django_db


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
