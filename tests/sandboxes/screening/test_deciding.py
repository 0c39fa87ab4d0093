"""What a person decides about a held file: once, with a reason, in the ledger, and as the index is told."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import connection

from portal.accounts.models import User
from sandboxes.audit.models import Entry
from sandboxes.errors import ConflictError, InvalidInputError, NotFoundError, PetridishError
from sandboxes.index.models import Epoch
from sandboxes.screening import deciding, held, lookup
from sandboxes.screening.models import Verdict
from sandboxes.screening.words import Screening
from tests.portal.web import world

pytestmark = pytest.mark.django_db


def _as_the_index_reads(row: Verdict) -> Screening:
    with connection.cursor() as cursor:
        cursor.execute(lookup.VERDICTS, {"files": [row.sha256]})
        names = [column.name for column in cursor.description or ()]
        found = lookup.standings([dict(zip(names, one, strict=True)) for one in cursor])
    return found[row.sha256].of((row.ecosystem, row.project, row.filename), screened=True)


@pytest.mark.parametrize(
    ("decide", "state", "decision"),
    [
        (deciding.release, Screening.PASSED, "released"),
        (deciding.block, Screening.BLOCKED, "blocked"),
    ],
)
def test_a_decision(iris: User, decide: Callable[..., Verdict], state: Screening, decision: str) -> None:
    row = world.held()
    before = Epoch.objects.get(topic="screening_verdict").number
    decide(row.sha256, iris, " Looked at it ")
    row.refresh_from_db()
    assert (row.state, row.decision, row.decision_reason) == (state, decision, "Looked at it")
    assert (row.decided_by, row.decided_at is not None) == (iris, True)
    assert _as_the_index_reads(row) is state
    assert Epoch.objects.get(topic="screening_verdict").number > before  # which wakes every index process
    entry = Entry.objects.get(action=f"file.{decision}")
    assert (entry.actor, entry.subject) == ("iris", f"file:{row.sha256}")
    assert entry.data["reason"] == "Looked at it"
    assert entry.data["filename"] == row.filename
    assert entry.data["rules"] == ["import-time.network"]
    assert not held.waiting().exists()


def test_the_second_decision_is_refused_whatever_it_is(iris: User, igor: User) -> None:
    row = world.held()
    deciding.release(row.sha256, iris, "Fine")
    for decide in (deciding.release, deciding.block):
        with pytest.raises(ConflictError, match="Iris has released it"):
            decide(row.sha256, igor, "No")
    row.refresh_from_db()
    assert (row.decision, row.decided_by) == ("released", iris)
    assert Entry.objects.filter(subject=f"file:{row.sha256}").count() == 1


@pytest.mark.parametrize("state", [Screening.PASSED, Screening.RUNNING])
def test_what_is_not_held_is_not_decided(iris: User, state: Screening) -> None:
    row = world.held(state=state)
    with pytest.raises(ConflictError, match="not held"):
        deciding.block(row.sha256, iris, "No")


@pytest.mark.parametrize("reason", ["", " \0", "x" * (deciding.LONGEST_REASON + 1)])
@pytest.mark.parametrize("decide", [deciding.release, deciding.block, deciding.reopen])
def test_a_reason_is_needed(iris: User, decide: Callable[..., Verdict], reason: str) -> None:
    row = world.held()
    with pytest.raises(InvalidInputError):
        decide(row.sha256, iris, reason)
    row.refresh_from_db()
    assert row.decision == ""
    assert not Entry.objects.filter(subject=f"file:{row.sha256}").exists()


def test_what_nobody_knows_is_not_there(iris: User) -> None:
    for decide in (deciding.release, deciding.block, deciding.reopen):
        with pytest.raises(NotFoundError):
            decide("0" * 64, iris, "Why")


def test_reopened_it_is_held_again(iris: User, igor: User) -> None:
    row = world.held()
    with pytest.raises(ConflictError, match="Nobody has decided"):
        deciding.reopen(row.sha256, iris, "Again")
    deciding.block(row.sha256, iris, "Bad")
    with pytest.raises(ConflictError, match="meanwhile"):
        deciding.reopen(row.sha256, igor, "Again", was="released")
    deciding.reopen(row.sha256, igor, "It was a false alarm")
    row.refresh_from_db()
    assert (row.state, row.decision, row.decided_by, row.decided_at) == (Screening.HELD, "", None, None)
    entry = Entry.objects.get(action="file.reopened")
    assert (entry.data["reason"], entry.data["decision"], entry.data["was"]) == (
        "It was a false alarm",
        "blocked",
        "Bad",
    )
    assert list(held.waiting()) == [row]


@pytest.mark.django_db(transaction=True)
def test_of_two_at_the_same_moment_one_wins(iris: User, igor: User) -> None:
    row = world.held()
    together = Barrier(2)

    def decide(what: tuple[Any, User]) -> str:
        together.wait(10)
        try:
            return str(what[0](row.sha256, what[1], "Mine").decision)
        except PetridishError as error:
            return error.code
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(decide, [(deciding.release, iris), (deciding.block, igor)]))
    row.refresh_from_db()
    assert sorted(found) == sorted([row.decision, "conflict"])
    assert Entry.objects.filter(subject=f"file:{row.sha256}").count() == 1


def _twins() -> tuple[Verdict, Verdict]:
    """The same bytes under two names."""
    first = world.held("evil")
    return first, world.held("ev1l", sha256=first.sha256)


def test_a_release_is_of_one_name(iris: User) -> None:
    first, second = _twins()
    assert (first.pk, second.pk.startswith(f"{first.sha256}-")) == (first.sha256, True)
    deciding.release(first.pk, iris, "It is what it says")
    assert _as_the_index_reads(first) is Screening.PASSED
    assert _as_the_index_reads(second) is Screening.HELD
    assert list(held.waiting()) == [second]
    deciding.release(second.pk, iris, "That too")
    assert _as_the_index_reads(second) is Screening.PASSED


@pytest.mark.parametrize("meant", [0, 1])
def test_a_block_is_of_the_bytes_under_every_name(iris: User, ada: User, meant: int) -> None:
    rows = _twins()
    passed = world.held("good", sha256=rows[0].sha256, state="passed", decision="released", decided_by=iris)
    deciding.block(rows[meant].pk, ada, "It steals")
    for row in (*rows, passed):
        row.refresh_from_db()
        assert (row.state, row.decision, row.decided_by) == ("blocked", "blocked", ada)
    assert not held.waiting().exists()
    entry = Entry.objects.get(action="file.blocked")
    assert set(entry.data["also"]) == {
        f"pypi:{row.project}:{row.filename}" for row in (*rows, passed) if row.pk != rows[meant].pk
    }
    deciding.reopen(passed.pk, ada, "A mistake")
    assert set(held.waiting()) == {*rows, passed}


def test_bytes_that_are_blocked_are_released_under_no_name(iris: User, ada: User) -> None:
    first = world.held("evil")
    deciding.block(first.pk, ada, "It steals")
    late = world.held("ev1l", sha256=first.sha256)  # its scan had begun before
    assert _as_the_index_reads(late) is Screening.BLOCKED
    with pytest.raises(ConflictError, match=r"blocked as evil-2\.0"):
        deciding.release(late.pk, iris, "Fine")
