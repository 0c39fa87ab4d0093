"""Whether it fits, what would have to end, and what it costs to know."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from portal.accounts.models import User
from sandboxes.lifecycle import clock, holds, quota, registry, services
from sandboxes.lifecycle.amounts import Amount
from sandboxes.lifecycle.models import Quota, Sandbox
from sandboxes.lifecycle.models.quota import Scope
from tests.sandboxes.lifecycle.wishes import give_back, limit, wish

pytestmark = pytest.mark.django_db


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


def test_amounts_add_up() -> None:
    assert Amount(1, 2, 3, 4) + Amount(1, 1, 1, 1) - Amount(1) == Amount(1, 3, 4, 5)
