"""The switches: everything paused; deletions stopped, by themselves when too much would go at once."""

from datetime import timedelta

import pytest

from portal.accounts.models import User
from sandboxes.audit.models import Entry
from sandboxes.audit.services import verify
from sandboxes.errors import ConflictError, InvalidInputError, RefusedError, TemporaryError
from sandboxes.lifecycle import clock, services, switch
from sandboxes.lifecycle.models import Alarm, EngineState, Orphan, Sandbox
from sandboxes.lifecycle.moves import start_ending
from sandboxes.lifecycle.phases import Phase
from tests.sandboxes.lifecycle.rows import HOUR, ready

pytestmark = pytest.mark.django_db


def end_early(owner: User, number: int) -> list[Sandbox]:
    """That many open sandboxes that Petridish itself ends before their time."""
    rows = [ready(owner) for _ in range(number)]
    for row in rows:
        assert start_ending(row, reason="its namespace was deleted by somebody else")
    return rows


def actions() -> list[str]:
    return list(Entry.objects.filter(subject="engine").order_by("id").values_list("action", flat=True))


class TestPause:
    def test_says_who_and_why_and_twice_is_once(self, ada: User) -> None:
        switch.pause(ada, "The cluster moves house.")
        switch.pause(ada, "Once more.")
        state = switch.state()
        assert (state.paused, state.paused_reason, state.paused_by) == (True, "The cluster moves house.", ada)
        assert not switch.may_delete()
        switch.resume(ada)
        switch.resume(ada)
        assert not switch.paused()
        assert switch.may_delete()
        assert actions() == ["engine.paused", "engine.resumed"]

    def test_needs_a_reason(self, ada: User) -> None:
        with pytest.raises(InvalidInputError):
            switch.pause(ada, " ")


class TestTooMany:
    def test_more_than_the_share_stops_deletions_until_an_admin_allows_them(
        self, alice: User, ada: User
    ) -> None:
        for _ in range(40):
            ready(alice)
        end_early(alice, 4)
        assert switch.may_delete()  # 4 of 44: below the floor, and the share
        end_early(alice, 1)
        assert not switch.may_delete()  # 5 of 45 are more than a tenth
        assert not switch.may_delete()
        alarm = Alarm.objects.get(kind="deletions_stopped", cleared_at=None)
        assert "5 of 45" in alarm.message
        switch.allow_deletions(ada, "Somebody emptied the test cluster; that was meant.")
        assert switch.may_delete()  # those five were looked at
        assert Alarm.objects.get(pk=alarm.pk).cleared_by == ada
        told = ["alarm.raised", "engine.deletions_stopped", "alarm.cleared", "engine.deletions_allowed"]
        assert actions() == told
        end_early(alice, 5)
        assert not switch.may_delete()  # five more were not
        assert verify().ok

    def test_a_share_of_many_is_more_than_the_floor(self, alice: User) -> None:
        for _ in range(60):
            ready(alice)
        end_early(alice, 6)
        assert switch.may_delete()  # 6 of 66

    def test_share_and_floor_are_settings(self, alice: User) -> None:
        switch.state()
        EngineState.objects.update(breaker_share=0.5, breaker_floor=1)
        ready(alice)
        end_early(alice, 1)
        assert switch.may_delete()
        end_early(alice, 1)
        assert not switch.may_delete()

    def test_what_happened_over_an_hour_ago_does_not_count(self, alice: User) -> None:
        end_early(alice, 5)
        Sandbox.objects.update(early_end_at=clock.now() - timedelta(minutes=61))
        assert switch.may_delete()

    def test_what_a_lease_a_person_or_a_failure_ends_does_not_count(self, alice: User) -> None:
        """A hundred leases that end on Friday evening are no accident."""
        for _ in range(10):
            start_ending(ready(alice, expires_at=clock.now()), reason="expired")
        for _ in range(10):
            services.end(ready(alice).pk, by=alice)
        for _ in range(10):
            row = ready(alice, phase=Phase.PROVISIONING, ready_at=None, expires_at=None)
            start_ending(row, reason="failed", failure="The image cannot be pulled.")
        assert switch.may_delete()


class TestWithoutARow:
    def test_a_namespace_that_a_row_gives_up_may_go(self, alice: User) -> None:
        ready(alice, phase=Phase.ENDING, namespace="sbx-a", namespace_uid="u-1")
        ready(alice, phase=Phase.STUCK, namespace="sbx-b", namespace_uid="u-2")
        switch.check_delete("sbx-a", "u-1")
        switch.check_delete("sbx-b", "u-2")
        assert switch.may_delete()

    @pytest.mark.parametrize(
        ("namespace", "uid"),
        [
            ("sbx-a", "another"),
            ("another", "u-1"),
            ("sbx-a", ""),
            ("sbx-live", "u-live"),
            ("sbx-over", "u-over"),
        ],
    )
    def test_any_other_is_refused_and_stops_deletions(self, alice: User, namespace: str, uid: str) -> None:
        ready(alice, phase=Phase.ENDING, namespace="sbx-a", namespace_uid="u-1")
        ready(alice, namespace="sbx-live", namespace_uid="u-live")
        ready(alice, phase=Phase.ENDED, namespace="sbx-over", namespace_uid="u-over", next_check_at=None)
        with pytest.raises(RefusedError, match="no row gives it up"):
            switch.check_delete(namespace, uid)
        assert not switch.may_delete()
        assert "no row gives it up" in switch.state().deletions_reason
        with pytest.raises(TemporaryError, match="stopped"):
            switch.check_delete("sbx-a", "u-1")  # now nothing goes at all

    def test_an_orphan_may_go_after_its_grace_unless_somebody_keeps_it(self, ada: User) -> None:
        orphan = {"cluster": "simulated", "kind": "Namespace", "quarantined_at": clock.now() - 2 * HOUR}
        Orphan.objects.create(**orphan, name="old", uid="u-1", delete_after=clock.now() - HOUR)
        Orphan.objects.create(**orphan, name="new", uid="u-2", delete_after=clock.now() + HOUR)
        Orphan.objects.create(**orphan, name="kept", uid="u-3", delete_after=clock.now() - HOUR, kept_by=ada)
        switch.check_delete("old", "u-1")
        for name, uid in (("new", "u-2"), ("kept", "u-3")):
            EngineState.objects.update(deletions_stopped=False)
            with pytest.raises(RefusedError):
                switch.check_delete(name, uid)


class TestAllowing:
    def test_what_is_not_stopped_cannot_be_allowed(self, ada: User) -> None:
        with pytest.raises(ConflictError):
            switch.allow_deletions(ada, "Go on.")

    def test_needs_a_reason(self, ada: User) -> None:
        switch.stop_deletions("A drill.")
        with pytest.raises(InvalidInputError):
            switch.allow_deletions(ada, "")
        assert switch.state().deletions_stopped
