"""What one of the two workers finds while the other looks: the past takes nothing away that it did not see."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction

from portal.accounts.models import User
from sandboxes.lifecycle import isolation
from sandboxes.lifecycle.models import Alarm, Sandbox
from sandboxes.lifecycle.phases import Phase
from sandboxes.screening import advisories, exposures, matching_installs, reactions
from sandboxes.screening.exposure import Action, Kind
from sandboxes.screening.models import Change, Exposure
from tests.sandboxes.screening.documents import affected, document
from tests.sandboxes.screening.exposing import BAD, malicious, received, with_demo

pytestmark = pytest.mark.django_db


@pytest.fixture
def past(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Looks at the past, while `meanwhile` happens: right after installs were looked for, or before `statement`."""

    def look(meanwhile: Callable[[], object], *, statement: str = "") -> None:
        name = "_rows" if statement else "_hits_of"
        right = getattr(matching_installs, name)
        to_come = [meanwhile]

        def patched(*given: Any) -> Any:
            if statement:
                if given[0] == statement and to_come:
                    to_come.pop()()
                return right(*given)
            hits = right(*given)
            if to_come:
                to_come.pop()()
            return hits

        with monkeypatch.context() as context:
            context.setattr(matching_installs, name, patched)
            assert exposures._find(matching_installs.next_past)
        assert not to_come

    return look


def live_done() -> None:
    with transaction.atomic():
        assert matching_installs.next_live(reactions.all_of(), malicious=True)


def both(by: User, month: int) -> None:
    entry = affected("demo", versions=["1.0", "1.1"])
    advisories.put(document(BAD, entry, modified=f"2026-{month:02}-01T00:00:00Z"), by=by)


def test_what_was_found_meanwhile_is_not_closed(ada: User, alice: User, past: Callable[..., None]) -> None:
    """Given to a live sandbox by the index just now, found by the live worker, and ended for it."""
    reactions.change({Kind.MALICIOUS: Action.END}, by=ada, reason="Away with it")
    malicious(ada)
    live_done()
    made: list[Sandbox] = []

    def meanwhile() -> None:
        made.append(with_demo(alice))
        exposures._find(matching_installs.next_installs)
        exposures._act_on(Exposure.objects.get().pk)

    past(meanwhile)
    exposures.expose()
    found = Exposure.objects.get()
    assert Sandbox.objects.get(pk=made[0].pk).phase == Phase.ENDING
    assert (found.closed_at, found.closed_why, Change.objects.count()) == (None, "", 0)


def test_a_file_that_joined_meanwhile_stays(ada: User, alice: User, past: Callable[..., None]) -> None:
    sandbox = with_demo(alice, phase=Phase.ENDED, next_check_at=None)
    both(ada, 3)
    exposures.expose()
    first = Exposure.objects.get().installs
    both(ada, 4)
    live_done()
    more: list[int] = []

    def meanwhile() -> None:
        more.append(received(sandbox, version="1.1").pk)
        assert exposures._find(matching_installs.next_installs)

    past(meanwhile)
    assert Exposure.objects.get().installs == [*first, *more]


def test_one_that_closed_by_what_was_written_before_is_closed_still(
    ada: User, alice: User, past: Callable[..., None]
) -> None:
    """What is as it was is closed, and shrinks, as ever."""
    sandbox = with_demo(alice, phase=Phase.ENDED, next_check_at=None)
    other = with_demo(alice, "1.1", phase=Phase.ENDED, next_check_at=None)
    received(sandbox, version="1.1")
    both(ada, 3)
    exposures.expose()
    malicious(ada, month=4)  # 1.0 alone
    live_done()
    past(lambda: None)
    closed = Exposure.objects.get(sandbox=other)
    assert closed.closed_why == f"{BAD} was changed and spares what was received."
    kept = Exposure.objects.get(sandbox=sandbox)
    assert kept.closed_at is None
    assert kept.installs == [sandbox.installs.get(version="1.0").pk]


def test_a_closed_one_that_comes_back_names_what_is_affected_now(ada: User, alice: User) -> None:
    sandbox = with_demo(alice, phase=Phase.ENDED, next_check_at=None)
    received(sandbox, version="1.1")
    both(ada, 3)
    exposures.expose()
    malicious(ada, month=4, withdrawn="2026-04-01T00:00:00Z")
    exposures.expose()
    malicious(ada, month=5)
    exposures.expose()
    found = Exposure.objects.get()
    assert (found.closed_at, found.installs) == (None, [sandbox.installs.get(version="1.0").pk])


def test_both_find_the_same_one_and_no_file_of_it_is_lost(
    ada: User, alice: User, past: Callable[..., None]
) -> None:
    """It is new to both: the other is the first to write it down, with the newest file alone."""
    sandbox = with_demo(alice, phase=Phase.ENDED, next_check_at=None)
    exposures.expose()
    malicious(ada)
    live_done()
    old, new = sandbox.installs.get(), received(sandbox, filename="demo-1.0.tar.gz", sha256="f" * 64)

    def meanwhile() -> None:
        Exposure.objects.create(
            advisory_id=BAD,
            sandbox=sandbox,
            live=False,
            kind=Kind.MALICIOUS,
            installs=[new.pk],
            action=Action.ISOLATE,
        )

    past(meanwhile, statement=matching_installs._NEW)
    assert Exposure.objects.get().installs == [old.pk, new.pk]


@pytest.mark.parametrize("other", ["A planted SSH key was used.", "Legal asked for it"])
@pytest.mark.parametrize("first", [True, False])
def test_lifting_is_not_offered_for_what_is_isolated_for_something_else_too(
    ada: User, alice: User, other: str, first: bool
) -> None:
    sandbox = with_demo(alice)
    if first:
        isolation.isolate(sandbox.pk, by=None, reason=other)
    malicious(ada)
    exposures.expose()
    if not first:
        isolation.isolate(sandbox.pk, by=None, reason=other)
    malicious(ada, month=4, withdrawn="2026-04-01T00:00:00Z")
    exposures.expose()
    sandbox.refresh_from_db()
    assert len(sandbox.isolation_reason.splitlines()) == 2
    assert not exposures.is_unfounded(sandbox)
    assert not Alarm.objects.filter(kind=exposures.UNFOUNDED).exists()


def test_lifting_is_offered_for_several_that_are_all_closed(ada: User, alice: User) -> None:
    sandbox = with_demo(alice)
    for number in (1, 2):
        malicious(ada, identity=f"MAL-2026-{number}")
    exposures.expose()
    for number in (1, 2):
        malicious(ada, identity=f"MAL-2026-{number}", month=4, withdrawn="2026-04-01T00:00:00Z")
    exposures.expose()
    sandbox.refresh_from_db()
    assert exposures.is_unfounded(sandbox)
