"""Legal hold: no end before its date, whoever asks; after it the lease counts again."""

from datetime import datetime, timedelta

import pytest

from portal.accounts.models import User
from portal.accounts.services import set_active
from sandboxes.audit.models import Entry
from sandboxes.errors import ConflictError, InvalidInputError, NotFoundError, RefusedError
from sandboxes.lifecycle import clock, expiry, holds, isolation, services
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import Phase
from tests.sandboxes.lifecycle.working import actions, is_in, until

pytestmark = pytest.mark.django_db

THREE_DAYS = timedelta(days=3)


@pytest.fixture
def held(ready: Sandbox, ada: User) -> Sandbox:
    holds.hold(ready.pk, until=clock.now() + THREE_DAYS, reason="A dispute with a supplier.", by=ada)
    ready.refresh_from_db()
    return ready


def test_neither_owner_nor_approver_nor_admin_ends_it(
    held: Sandbox, alice: User, iris: User, ada: User
) -> None:
    for person in (alice, iris, ada):
        with pytest.raises(RefusedError) as refused:
            services.end(held.pk, by=person)
    assert f"until {held.hold_until:%Y-%m-%d %H:%M} UTC, by ada: A dispute with a supplier." in str(
        refused.value
    )
    held.refresh_from_db()
    assert held.phase == Phase.READY


def test_the_lease_does_not_end_it_and_does_so_afterwards(held: Sandbox) -> None:
    Sandbox.objects.update(expires_at=clock.now())
    assert expiry.run() == 0
    held.refresh_from_db()
    assert held.phase == Phase.READY
    Sandbox.objects.update(hold_until=clock.now())
    assert expiry.run() == 1
    until(held, is_in(Phase.ENDED))
    assert held.end_reason == "expired"


def test_it_outlives_its_owner_and_is_isolated(held: Sandbox, alice: User, ada: User) -> None:
    set_active(alice, False, by=ada)
    held.refresh_from_db()
    assert held.phase == Phase.ISOLATED
    until(held, lambda sandbox: sandbox.cut_at)
    with pytest.raises(RefusedError):
        services.end(held.pk, by=ada)


def test_lifting_lets_it_end(held: Sandbox, alice: User, ada: User) -> None:
    holds.lift(held.pk, by=ada, reason="It was settled.")
    holds.lift(held.pk, by=ada, reason="Twice changes nothing.")
    held.refresh_from_db()
    assert (held.hold_until, held.hold_reason, held.hold_by) == (None, "", None)
    entry = Entry.objects.get(action="sandbox.hold_lifted")
    assert (entry.data["reason"], entry.data["held_for"]) == ("It was settled.", "A dispute with a supplier.")
    services.end(held.pk, by=alice)
    until(held, is_in(Phase.ENDED))


def test_a_hold_is_shortened_and_lengthened(held: Sandbox, ada: User) -> None:
    for until_when in (clock.now() + timedelta(hours=1), clock.now() + timedelta(days=30)):
        holds.hold(held.pk, until=until_when, reason="It changed.", by=ada)
        held.refresh_from_db()
        assert held.hold_until == until_when
    assert actions(held)[-3:] == ["held", "hold_changed", "hold_changed"]


def test_it_needs_a_reason_and_a_future(ready: Sandbox, ada: User) -> None:
    with pytest.raises(InvalidInputError, match="Say why"):
        holds.hold(ready.pk, until=clock.now() + THREE_DAYS, reason=" ", by=ada)
    with pytest.raises(InvalidInputError, match="in the future"):
        holds.hold(ready.pk, until=clock.now(), reason="too late", by=ada)
    with pytest.raises(NotFoundError):
        holds.hold(0, until=clock.now() + THREE_DAYS, reason="whose", by=ada)
    ready.refresh_from_db()
    assert not holds.held(ready)


def test_it_is_for_ten_years_at_most(held: Sandbox, ada: User) -> None:
    """A date that the year 10000 has begun at in UTC could be stored, and the row never read again."""
    for until_when in (
        clock.now() + holds.LONGEST + timedelta(minutes=1),
        datetime.fromisoformat("9999-12-31T23:59:59-14:00"),
    ):
        with pytest.raises(InvalidInputError, match="ten years"):
            holds.hold(held.pk, until=until_when, reason="for ever", by=ada)
    before = held.hold_until
    held.refresh_from_db()
    assert held.hold_until == before
    holds.hold(held.pk, until=clock.now() + holds.LONGEST - timedelta(minutes=1), reason="long", by=ada)


def test_it_works_before_it_opened_and_while_it_is_isolated(
    sandbox: Sandbox, ada: User, alice: User, iris: User
) -> None:
    holds.hold(sandbox.pk, until=clock.now() + THREE_DAYS, reason="early", by=ada)
    until(sandbox, is_in(Phase.READY))
    with pytest.raises(RefusedError):
        services.end(sandbox.pk, by=alice)
    holds.lift(sandbox.pk, by=ada, reason="over")
    isolation.isolate(sandbox.pk, by=iris, reason="odd")
    holds.hold(sandbox.pk, until=clock.now() + THREE_DAYS, reason="late", by=ada)
    sandbox.refresh_from_db()
    assert holds.held(sandbox)


def test_what_is_being_deleted_cannot_be_held(ready: Sandbox, alice: User, ada: User) -> None:
    services.end(ready.pk, by=alice)
    with pytest.raises(ConflictError, match="teardown has begun"):
        holds.hold(ready.pk, until=clock.now() + THREE_DAYS, reason="late", by=ada)
    until(ready, is_in(Phase.ENDED))
    with pytest.raises(ConflictError, match="over"):
        holds.hold(ready.pk, until=clock.now() + THREE_DAYS, reason="later", by=ada)
