"""What is done with whoever has what an advisory is about, and back when it is withdrawn."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, transaction
from django.utils import timezone

from portal.accounts.models import User
from sandboxes.audit.models import Entry
from sandboxes.audit.services import verify
from sandboxes.errors import InvalidInputError
from sandboxes.lifecycle import alarms, holds, isolation
from sandboxes.lifecycle.models import Alarm, Sandbox
from sandboxes.lifecycle.phases import Phase
from sandboxes.screening import exposures, matching_installs, reactions
from sandboxes.screening.exposure import Action, Kind
from sandboxes.screening.models import Change, Exposure
from tests.sandboxes.screening.documents import affected, document
from tests.sandboxes.screening.exposing import (
    BAD,
    malicious,
    open_alarms,
    phase_of,
    vulnerable,
    with_demo,
)

pytestmark = pytest.mark.django_db


def test_malware_isolates_whoever_has_it_and_nobody_else(ada: User, alice: User, bob: User) -> None:
    hers, his, untouched = with_demo(alice), with_demo(bob), with_demo(bob, "2.0")
    malicious(ada)
    assert exposures.expose()
    assert [phase_of(one) for one in (hers, his, untouched)] == ["isolated", "isolated", "ready"]
    hers.refresh_from_db()
    assert hers.isolation_reason == f"{BAD} says that demo 1.0 is malicious"
    found = Exposure.objects.get(sandbox=hers)
    assert (found.kind, found.action, found.live, found.error) == ("malicious", "isolate", True, "")
    assert found.acted_at is not None
    assert found.installs == list(hers.installs.values_list("pk", flat=True))
    assert open_alarms(exposures.EXPOSED) == [f"advisory:{BAD}"]
    entry = Entry.objects.get(action="exposure.found")
    assert (entry.data["live"], entry.data["past"], entry.data["sandboxes"]) == (2, 0, [hers.pk, his.pk])
    assert not Change.objects.exists()
    assert verify().ok


def test_again_changes_nothing(ada: User, alice: User) -> None:
    with_demo(alice)
    malicious(ada)
    exposures.expose()
    before = Entry.objects.count(), Exposure.objects.get().acted_at
    exposures.expose()
    assert (Entry.objects.count(), Exposure.objects.get().acted_at) == before


@pytest.mark.parametrize(
    ("severity", "alarmed"), [("CRITICAL", True), ("HIGH", True), ("MODERATE", False), ("LOW", False)]
)
def test_a_hole_is_told_and_cuts_nobody_off(ada: User, alice: User, severity: str, alarmed: bool) -> None:
    sandbox = with_demo(alice)
    vulnerable(ada, severity)
    exposures.expose()
    assert phase_of(sandbox) == Phase.READY
    told = Entry.objects.get(action="sandbox.exposed", subject=f"sandbox:{sandbox.pk}")
    assert told.data["advisory"] == "GHSA-1"
    assert bool(open_alarms(exposures.EXPOSED)) is alarmed


def test_whoever_is_over_is_named_and_left_alone(ada: User, alice: User) -> None:
    past = with_demo(alice, phase=Phase.ENDED, next_check_at=None)
    malicious(ada)
    exposures.expose()
    found = Exposure.objects.get(sandbox=past)
    assert (found.live, found.acted_at is not None, phase_of(past)) == (False, True, Phase.ENDED)
    assert open_alarms(exposures.EXPOSED)
    assert Entry.objects.get(action="exposure.found").data["past"] == 1


def test_one_that_ends_before_it_is_acted_on_needs_nothing(ada: User, alice: User) -> None:
    sandbox = with_demo(alice)
    malicious(ada)
    with transaction.atomic():
        assert matching_installs.next_live(reactions.all_of(), malicious=True)
    Sandbox.objects.filter(pk=sandbox.pk).update(phase=Phase.ENDING)
    exposures.expose()
    found = Exposure.objects.get()
    assert (found.acted_at is not None, found.error, phase_of(sandbox)) == (True, "", Phase.ENDING)


def test_malware_by_its_range_alone_is_for_a_person_to_look_at(ada: User, alice: User) -> None:
    """It lists 0.9 and its range covers everything: whoever has the name now may be somebody else."""
    from sandboxes.screening import advisories

    sandbox = with_demo(alice)
    entry = affected("demo", [("introduced", "0")], versions=["0.9"])
    advisories.put(document(BAD, entry), by=ada)
    exposures.expose()
    found = Exposure.objects.get()
    assert (found.confirmed, found.action, phase_of(sandbox)) == (False, "notify", Phase.READY)
    assert "a person has to look" in Alarm.objects.get(kind=exposures.EXPOSED).message
    advisories.put(
        document(BAD, entry | {"versions": ["0.9", "1.0"]}, modified="2026-04-01T00:00:00Z"), by=ada
    )
    exposures.expose()
    found.refresh_from_db()
    assert (found.confirmed, found.action, phase_of(sandbox)) == (True, "isolate", Phase.ISOLATED)


def test_a_reaction_of_ending_ends(ada: User, alice: User) -> None:
    reactions.change({Kind.CRITICAL: Action.END}, by=ada, reason="We keep nothing of that kind")
    sandbox = with_demo(alice)
    vulnerable(ada, "CRITICAL")
    exposures.expose()
    sandbox.refresh_from_db()
    assert (sandbox.phase, sandbox.index_token_digest) == (Phase.ENDING, "")
    assert sandbox.end_reason == "GHSA-1 says that demo 1.0 is vulnerable (critical)"


def test_what_is_held_is_cut_off_in_place_of_being_ended(ada: User, alice: User) -> None:
    reactions.change({Kind.MALICIOUS: Action.END}, by=ada, reason="Away with it")
    sandbox = with_demo(alice)
    holds.hold(sandbox.pk, until=timezone.now() + timedelta(days=9), reason="Law", by=ada)
    malicious(ada)
    exposures.expose()
    assert phase_of(sandbox) == Phase.ISOLATED
    assert Exposure.objects.get().action == Action.ISOLATE


def test_what_fails_is_kept_and_tried_again(
    ada: User, alice: User, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the one that fails keeps nobody else waiting."""
    hers, his = with_demo(alice), with_demo(bob)
    malicious(ada)
    right = isolation.isolate

    def refused(sandbox_id: int, **given: Any) -> Sandbox:
        if sandbox_id == hers.pk:
            right(sandbox_id, **given)  # done half way: all of it has to go back
            raise DatabaseError("the disk is full")
        return right(sandbox_id, **given)

    monkeypatch.setattr(isolation, "isolate", refused)
    exposures.expose()
    assert (phase_of(hers), phase_of(his)) == ("ready", "isolated")
    found = Exposure.objects.get(sandbox=hers)
    assert (found.acted_at, found.error) == (None, "the disk is full")
    monkeypatch.setattr(isolation, "isolate", right)
    exposures.expose()
    found.refresh_from_db()
    assert (phase_of(hers), found.error) == ("isolated", "")
    assert found.acted_at is not None


def test_who_is_killed_while_finding_leaves_the_work_where_it_was(
    ada: User, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = with_demo(alice)
    malicious(ada)

    class Killed(BaseException):
        pass

    def killed(outcome: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(exposures, "_tell", killed)
        with pytest.raises(Killed):
            exposures.expose()
    assert (Change.objects.count(), Exposure.objects.count()) == (1, 0)
    exposures.expose()
    assert phase_of(sandbox) == Phase.ISOLATED


def test_what_is_released_stays_so_when_the_record_is_corrected(ada: User, iris: User, alice: User) -> None:
    sandbox = with_demo(alice)
    malicious(ada)
    exposures.expose()
    isolation.release(sandbox.pk, by=iris, reason="It was never started")
    malicious(ada, month=4, summary="Better words")
    exposures.expose()
    assert phase_of(sandbox) == Phase.PROBING


def test_worse_than_before_acts_again(ada: User, alice: User) -> None:
    sandbox = with_demo(alice)
    vulnerable(ada, "LOW")
    exposures.expose()
    assert phase_of(sandbox) == Phase.READY
    reactions.change({Kind.CRITICAL: Action.ISOLATE}, by=ada, reason="Strict")
    vulnerable(ada, "CRITICAL", modified="2026-05-01T00:00:00Z")
    exposures.expose()
    assert phase_of(sandbox) == Phase.ISOLATED
    assert Exposure.objects.get().kind == "critical"


def test_withdrawn_closes_offers_and_forgets_nothing(ada: User, iris: User, alice: User) -> None:
    sandbox = with_demo(alice)
    malicious(ada)
    exposures.expose()
    malicious(ada, month=5, withdrawn="2026-05-01T00:00:00Z")
    exposures.expose()
    found = Exposure.objects.get()
    assert found.closed_at is not None
    assert found.closed_why == f"{BAD} was withdrawn on 2026-05-01."
    sandbox.refresh_from_db()
    assert (sandbox.phase, exposures.is_unfounded(sandbox)) == (Phase.ISOLATED, True)
    assert open_alarms(exposures.UNFOUNDED) == [f"sandbox:{sandbox.pk}"]
    assert open_alarms(exposures.EXPOSED) == []
    assert Entry.objects.get(action="exposure.closed").data["sandboxes"] == [sandbox.pk]
    isolation.release(sandbox.pk, by=iris, reason="Withdrawn")
    exposures.expose()
    assert open_alarms(exposures.UNFOUNDED) == []
    assert Exposure.objects.filter(pk=found.pk).exists()


def test_what_comes_back_acts_again(ada: User, iris: User, alice: User) -> None:
    sandbox = with_demo(alice)
    malicious(ada)
    malicious(ada, month=5, withdrawn="2026-05-01T00:00:00Z")
    exposures.expose()
    assert not Exposure.objects.exists()
    malicious(ada, month=6)
    exposures.expose()
    malicious(ada, month=7, withdrawn="2026-05-01T00:00:00Z")
    exposures.expose()
    isolation.release(sandbox.pk, by=iris, reason="Withdrawn")
    malicious(ada, month=8)
    exposures.expose()
    assert phase_of(sandbox) == Phase.ISOLATED
    found = Exposure.objects.get()
    assert (found.closed_at, found.closed_why) == (None, "")


def test_lifting_is_not_offered_while_something_else_speaks_against_it(ada: User, alice: User) -> None:
    sandbox = with_demo(alice)
    malicious(ada)
    malicious(ada, identity="MAL-2026-2")
    exposures.expose()
    sandbox.refresh_from_db()
    assert len(sandbox.isolation_reason.splitlines()) == 2
    malicious(ada, month=5, withdrawn="2026-05-01T00:00:00Z")
    exposures.expose()
    assert not exposures.is_unfounded(sandbox)
    assert open_alarms(exposures.UNFOUNDED) == []


def test_lifting_is_not_offered_for_what_was_isolated_otherwise(ada: User, iris: User, alice: User) -> None:
    sandbox = with_demo(alice)
    malicious(ada)
    exposures.expose()
    isolation.release(sandbox.pk, by=iris, reason="Never started")
    isolation.isolate(sandbox.pk, by=iris, reason="It scans the network")
    malicious(ada, month=5, withdrawn="2026-05-01T00:00:00Z")
    exposures.expose()
    sandbox.refresh_from_db()
    assert not exposures.is_unfounded(sandbox)


def test_changed_so_that_it_spares_what_was_received(ada: User, alice: User) -> None:
    from sandboxes.screening import advisories

    with_demo(alice)
    malicious(ada)
    exposures.expose()
    other = document(BAD, affected("demo", versions=["3.0"]), modified="2026-06-01T00:00:00Z")
    advisories.put(other, by=ada)
    exposures.expose()
    assert Exposure.objects.get().closed_why == f"{BAD} was changed and spares what was received."


def test_reactions_are_kept_with_a_reason(ada: User) -> None:
    assert reactions.all_of()[Kind.MALICIOUS] is Action.ISOLATE
    assert {action for kind, action in reactions.all_of().items() if kind is not Kind.MALICIOUS} == {
        Action.NOTIFY
    }
    with pytest.raises(InvalidInputError, match="why"):
        reactions.change({Kind.LOW: Action.END}, by=ada, reason=" ")
    assert not reactions.change({Kind.LOW: Action.NOTIFY}, by=ada, reason="As it is")
    assert reactions.change({Kind.LOW: Action.ISOLATE}, by=ada, reason="Strict")
    entry = Entry.objects.get(action="reactions.changed")
    assert (entry.actor, entry.data["changed"]) == ("ada", {"low": ["notify", "isolate"]})


def test_alarms_that_are_not_ours_are_left(ada: User, alice: User) -> None:
    with_demo(alice)
    alarms.alarm("stuck", "sandbox:1", "Look")
    exposures.expose()
    assert open_alarms("stuck") == ["sandbox:1"]
