"""Waivers: each step, who it takes, and what the ledger says of it."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from portal.accounts.models import User
from sandboxes.audit.models import Entry
from sandboxes.errors import ConflictError, InvalidInputError, NotFoundError, PetridishError, RefusedError
from sandboxes.index import waivers
from sandboxes.index.models import Waiver
from sandboxes.index.policy.facts import Ecosystem
from sandboxes.index.policy.rules import ADMINS_ALONE, NEVER_WAIVED, Rule
from sandboxes.index.policy.waivers import Scope
from sandboxes.index.waivers import About, State
from sandboxes.lifecycle.models import Sandbox

DAY = timedelta(days=1)
DEMO = About(Ecosystem.PYPI, "Demo_Pack", "2.0.0")


@pytest.fixture
def mine(alice: User) -> Sandbox:
    return Sandbox.objects.create(
        name="mine", owner=alice, department="Research", profile="python", data_class="public", lease=DAY
    )


def ask(by: User, sandbox: Sandbox | None, **changes: Any) -> Waiver:
    plain: dict[str, Any] = {
        "about": DEMO,
        "rule": Rule.COOLDOWN,
        "scope": Scope.SANDBOX,
        "until": timezone.now() + DAY,
        "reason": " for the demo ",
    }
    return waivers.ask(**plain | changes, sandbox=sandbox, by=by)


def ledger() -> list[tuple[str, str, str]]:
    return list(Entry.objects.order_by("id").values_list("actor", "action", "subject"))


@pytest.mark.parametrize(
    ("scope", "subject"),
    [
        (Scope.SANDBOX, lambda sandbox: str(sandbox.pk)),
        (Scope.PERSON, lambda sandbox: str(sandbox.owner_id)),
        (Scope.DEPARTMENT, lambda _: "Research"),
        (Scope.ALL, lambda _: ""),
    ],
)
def test_asked_for_and_granted(iris: User, alice: User, mine: Sandbox, scope: Scope, subject: Any) -> None:
    waiver = ask(alice, mine, scope=scope)
    assert (waiver.project, waiver.version, waiver.reason) == ("demo-pack", "2.0.0", "for the demo")
    assert (waiver.state, waiver.subject) == (State.ASKED, subject(mine))
    granted = waivers.decide(waiver.pk, grant=True, by=iris, note="fine")
    assert (granted.state, granted.decided_by, granted.note) == (State.GRANTED, iris, "fine")
    assert granted.decided_at is not None
    assert ledger() == [
        ("alice", "waiver.asked", f"waiver:{waiver.pk}"),
        ("iris", "waiver.granted", f"waiver:{waiver.pk}"),
    ]
    data = Entry.objects.latest("id").data
    assert (data["project"], data["rule"], data["scope"]) == ("demo-pack", "cooldown", scope.value)


@pytest.mark.parametrize("rule", sorted(set(Rule) - NEVER_WAIVED))
def test_what_is_admins_alone_is_granted_by_one(
    iris: User, ada: User, alice: User, mine: Sandbox, rule: Rule
) -> None:
    asked, other = ask(alice, mine, rule=rule), ask(alice, mine, rule=rule, scope=Scope.PERSON)
    if rule in ADMINS_ALONE:
        with pytest.raises(RefusedError, match="Only an admin"):
            waivers.decide(asked.pk, grant=True, by=iris)
        assert Waiver.objects.get(pk=asked.pk).state == State.ASKED
        assert waivers.decide(asked.pk, grant=True, by=ada, as_admin=True).state == State.GRANTED
    else:
        assert waivers.decide(asked.pk, grant=True, by=iris).state == State.GRANTED
    assert waivers.decide(other.pk, grant=False, by=iris, note="no").state == State.REFUSED


def test_granted_otherwise_than_asked(iris: User, alice: User, mine: Sandbox) -> None:
    until = timezone.now() + 30 * DAY
    granted = waivers.decide(ask(alice, mine).pk, grant=True, by=iris, until=until, scope=Scope.DEPARTMENT)
    assert (granted.until, granted.scope, granted.subject) == (until, "department", "Research")


def test_refused_withdrawn_and_ended(iris: User, alice: User, mine: Sandbox) -> None:
    refused = waivers.decide(ask(alice, mine).pk, grant=False, by=iris, note="too fresh")
    withdrawn = waivers.withdraw(ask(alice, mine).pk, by=alice)
    ended = waivers.end(waivers.decide(ask(alice, mine).pk, grant=True, by=iris).pk, by=iris, note="over")
    assert [one.state for one in (refused, withdrawn, ended)] == ["refused", "withdrawn", "ended"]
    assert [action for _, action, _ in ledger()] == [
        "waiver.asked",
        "waiver.refused",
        "waiver.asked",
        "waiver.withdrawn",
        "waiver.asked",
        "waiver.granted",
        "waiver.ended",
    ]


def test_break_glass_holds_at_once_and_is_loud(ada: User, mine: Sandbox) -> None:
    waiver = waivers.break_glass(
        about=DEMO,
        scope=Scope.ALL,
        sandbox=None,
        until=timezone.now() + DAY,
        reason="production is down",
        by=ada,
    )
    assert (waiver.state, waiver.break_glass, waiver.rule) == (State.GRANTED, True, "")
    assert ledger() == [("ada", "waiver.break_glass", f"waiver:{waiver.pk}")]
    assert Entry.objects.get().data["rule"] == "every rule"


REFUSED: list[tuple[str, dict[str, Any], type[PetridishError]]] = [
    *((rule.value, {"rule": rule}, RefusedError) for rule in sorted(NEVER_WAIVED)),
    ("no reason", {"reason": " "}, InvalidInputError),
    ("a long reason", {"reason": "x" * 1001}, InvalidInputError),
    ("over already", {"until": timezone.now() - DAY}, InvalidInputError),
    ("for ever", {"until": timezone.now() + 400 * DAY}, InvalidInputError),
    ("no project", {"about": About(Ecosystem.PYPI, "../x")}, InvalidInputError),
]


@pytest.mark.parametrize(("changes", "error"), [case[1:] for case in REFUSED], ids=[c[0] for c in REFUSED])
def test_what_cannot_be_asked_for(
    alice: User, mine: Sandbox, changes: dict[str, Any], error: type[PetridishError]
) -> None:
    with pytest.raises(error):
        ask(alice, mine, **changes)
    assert (Waiver.objects.count(), ledger()) == (0, [])


@pytest.mark.parametrize("scope", [Scope.SANDBOX, Scope.DEPARTMENT])
def test_a_scope_needs_its_subject(alice: User, scope: Scope) -> None:
    with pytest.raises(InvalidInputError):
        ask(alice, None, scope=scope)


def test_the_same_is_asked_for_once(alice: User, mine: Sandbox) -> None:
    ask(alice, mine)
    with pytest.raises(ConflictError):
        ask(alice, mine)
    ask(alice, mine, scope=Scope.PERSON)


def test_nobody_decides_their_own_and_nobody_withdraws_anothers(
    iris: User, alice: User, mine: Sandbox
) -> None:
    waiver = ask(alice, mine)
    with pytest.raises(RefusedError):
        waivers.decide(waiver.pk, grant=True, by=alice)
    with pytest.raises(RefusedError):
        waivers.withdraw(waiver.pk, by=iris)


def test_of_two_who_decide_one_does(iris: User, igor: User, alice: User, mine: Sandbox) -> None:
    waiver = ask(alice, mine)
    waivers.decide(waiver.pk, grant=False, by=iris)
    with pytest.raises(ConflictError, match="it is refused"):
        waivers.decide(waiver.pk, grant=True, by=igor)
    with pytest.raises(ConflictError):
        waivers.end(waiver.pk, by=igor, note="")
    with pytest.raises(NotFoundError):
        waivers.end(0, by=igor, note="")
    assert len(ledger()) == 2
