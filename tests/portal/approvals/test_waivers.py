"""Who may ask for a waiver, decide it, end it and see it; and broken glass."""

from datetime import timedelta

import pytest
from django.utils import timezone

from portal.accounts.models import User
from portal.approvals import tasks, waiver_queries, waivers
from portal.approvals.drafts import DraftError
from portal.approvals.waivers import Typed
from sandboxes.audit.models import Entry
from sandboxes.errors import ConflictError, InvalidInputError, NotFoundError, RefusedError
from sandboxes.index.models import Waiver
from sandboxes.index.policy.rules import ADMINS_ALONE
from sandboxes.index.waivers import State
from sandboxes.lifecycle.models import Alarm, Sandbox
from tests.portal.web import world

DAY = timedelta(days=1)


@pytest.fixture
def box(alice: User) -> Sandbox:
    return world.ready(alice)


def typed(box: Sandbox | None, **changes: str) -> Typed:
    plain = {"ecosystem": "pypi", "project": "demo", "version": "2.0", "scope": "sandbox", "reason": "Demo"}
    return Typed(**plain | changes, sandbox=box.pk if box else None)


def ask(by: User, box: Sandbox | None, **changes: str) -> Waiver:
    return waivers.ask(by=by, typed=typed(box, **changes), rules=["cooldown"])[0]


def test_asking(alice: User, box: Sandbox) -> None:
    found = waivers.ask(by=alice, typed=typed(box), rules=["cooldown", "sdist", "sdist"])
    assert [one.rule for one in found] == ["cooldown", "sdist"]
    assert abs(found[0].until - timezone.now() - 30 * DAY) < timedelta(minutes=1)
    assert set(waiver_queries.waiting()) == set(found)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"scope": "world"}, "scope"),
        ({"until": "tomorrow"}, "until"),
        ({"until": "2020-01-01"}, "until"),
        ({"until": "P400D"}, "until"),
        ({"reason": "  "}, "reason"),
        ({"reason": "x" * 1001}, "reason"),
    ],
)
def test_what_cannot_be_asked(alice: User, box: Sandbox, change: dict[str, str], field: str) -> None:
    with pytest.raises(DraftError) as caught:
        ask(alice, box, **change)
    assert set(caught.value.errors) == {field}
    assert not Waiver.objects.exists()


def test_rules_that_are_none_or_nobody_lifts(alice: User, box: Sandbox) -> None:
    for rules in ([], ["nonsense"], ["cooldown", "nonsense"]):
        with pytest.raises(DraftError):
            waivers.ask(by=alice, typed=typed(box), rules=rules)
    with pytest.raises(RefusedError):
        waivers.ask(by=alice, typed=typed(box), rules=["cooldown", "internal-name"])
    assert not Waiver.objects.exists()  # not the first of them either


def test_only_for_a_live_sandbox_of_ones_own(alice: User, bob: User, iris: User, box: Sandbox) -> None:
    for stranger in (bob, iris):
        with pytest.raises(NotFoundError):
            ask(stranger, box)
    with pytest.raises(DraftError):  # whose department?
        ask(alice, None, scope="department")
    assert ask(alice, None, scope="person").subject == str(alice.pk)
    world.over(box)
    with pytest.raises(ConflictError):
        ask(alice, box)


def test_a_person_does_not_flood_the_queue(alice: User, box: Sandbox) -> None:
    for number in range(20):
        ask(alice, box, version=f"{number}.0")
    with pytest.raises(ConflictError):
        ask(alice, box, version="20.0")


def test_a_decision_narrows(alice: User, iris: User, box: Sandbox) -> None:
    asked = ask(alice, box, scope="department", until="P30D")
    with pytest.raises(InvalidInputError):
        waivers.decide(asked.pk, by=iris, grant=True, reason="", scope="all")
    with pytest.raises(InvalidInputError):
        waivers.decide(asked.pk, by=iris, grant=True, reason="", until="P31D")
    granted = waivers.decide(asked.pk, by=iris, grant=True, reason="", until="P7D", scope="sandbox")
    assert (granted.scope, granted.subject) == ("sandbox", str(box.pk))
    assert abs(granted.until - timezone.now() - 7 * DAY) < timedelta(minutes=1)


def test_without_a_sandbox_there_is_less_to_narrow_to(alice: User, bob: User) -> None:
    asked = ask(alice, None, scope="all")
    assert waivers.narrower(asked) == ["person", "all"]


def test_who_decides(alice: User, iris: User, omar: User, ada: User, box: Sandbox) -> None:
    asked = ask(alice, box)
    for person in (alice, omar):
        with pytest.raises(RefusedError):
            waivers.decide(asked.pk, by=person, grant=True, reason="")
    own = ask(iris, None, scope="all")
    with pytest.raises(RefusedError):
        waivers.decide(own.pk, by=iris, grant=True, reason="")
    with pytest.raises(InvalidInputError):  # they read why
        waivers.decide(asked.pk, by=iris, grant=False, reason=" ")
    waivers.decide(asked.pk, by=iris, grant=False, reason="No")
    with pytest.raises(ConflictError):
        waivers.decide(asked.pk, by=ada, grant=True, reason="")
    assert waivers.decide(own.pk, by=ada, grant=True, reason="").state == State.GRANTED


@pytest.mark.parametrize("rule", sorted(ADMINS_ALONE))
def test_what_takes_an_admin(alice: User, iris: User, ada: User, box: Sandbox, rule: str) -> None:
    """An approver sees it, may refuse it, and cannot grant it."""
    [asked] = waivers.ask(by=alice, typed=typed(box), rules=[rule])
    assert waiver_queries.may_decide(iris, asked)
    assert not waiver_queries.may_grant(iris, asked)
    with pytest.raises(RefusedError, match="Only an admin"):
        waivers.decide(asked.pk, by=iris, grant=True, reason="")
    assert waiver_queries.may_grant(ada, asked)
    assert waivers.decide(asked.pk, by=ada, grant=True, reason="").state == State.GRANTED
    [other] = waivers.ask(by=alice, typed=typed(box), rules=[rule])
    assert waivers.decide(other.pk, by=iris, grant=False, reason="No").state == State.REFUSED


def test_an_admin_decides_not_on_their_own_either(ada: User) -> None:
    [asked] = waivers.ask(by=ada, typed=typed(None, scope="all"), rules=["denied"])
    assert not waiver_queries.may_grant(ada, asked)
    with pytest.raises(RefusedError, match="Somebody else"):
        waivers.decide(asked.pk, by=ada, grant=True, reason="")


def test_who_ends(alice: User, bob: User, iris: User, omar: User, box: Sandbox) -> None:
    granted = waivers.decide(ask(alice, box).pk, by=iris, grant=True, reason="")
    with pytest.raises(RefusedError):
        waivers.end(granted.pk, by=omar, reason="x")
    with pytest.raises(NotFoundError):
        waivers.end(granted.pk, by=bob, reason="x")
    with pytest.raises(InvalidInputError):
        waivers.end(granted.pk, by=alice, reason="")
    assert waivers.end(granted.pk, by=alice, reason="Done").state == State.ENDED


def test_who_sees(alice: User, bob: User, iris: User, omar: User, box: Sandbox) -> None:
    mine = ask(alice, box)
    for_all = ask(iris, None, scope="all")
    assert set(waiver_queries.waivers_visible(alice)) == {mine}
    assert set(waiver_queries.waivers_visible(omar)) == {mine, for_all}
    assert set(waiver_queries.waivers_visible(bob)) == set()
    Waiver.objects.filter(pk=for_all.pk).update(state=State.GRANTED)
    assert set(waiver_queries.waivers_visible(bob)) == {for_all}
    assert for_all in waiver_queries.of_sandbox(box)


def test_broken_glass_is_loud_until_it_ends(alice: User, ada: User, iris: User, box: Sandbox) -> None:
    with pytest.raises(RefusedError):
        waivers.break_glass(by=iris, typed=typed(box))
    glass = waivers.break_glass(by=ada, typed=typed(box))
    assert (glass.state, glass.rule, glass.break_glass) == (State.GRANTED, "", True)
    assert abs(glass.until - timezone.now() - timedelta(hours=4)) < timedelta(minutes=1)
    alarm = Alarm.objects.get(kind="break_glass", subject=f"waiver:{glass.pk}")
    assert "demo 2.0" in alarm.message
    assert Entry.objects.filter(action="waiver.break_glass", actor="ada").exists()
    tasks.close_break_glass()
    alarm.refresh_from_db()
    assert alarm.cleared_at is None
    waivers.end(glass.pk, by=iris, reason="Enough")
    alarm.refresh_from_db()
    assert alarm.cleared_by == iris


def test_the_alarm_goes_when_the_date_comes(ada: User, box: Sandbox) -> None:
    glass = waivers.break_glass(by=ada, typed=typed(box))
    Waiver.objects.filter(pk=glass.pk).update(until=timezone.now() - timedelta(hours=1))
    tasks.close_break_glass()
    assert Alarm.objects.get(kind="break_glass").cleared_at is not None


def test_broken_glass_is_short_and_for_a_live_sandbox(ada: User, box: Sandbox) -> None:
    with pytest.raises(DraftError) as caught:
        waivers.break_glass(by=ada, typed=typed(box, until="P2D"))
    assert set(caught.value.errors) == {"until"}
    with pytest.raises(DraftError):
        waivers.break_glass(by=ada, typed=typed(box, reason=""))
    world.over(box)
    with pytest.raises(ConflictError):
        waivers.break_glass(by=ada, typed=typed(box))
    assert not Alarm.objects.filter(kind="break_glass").exists()
