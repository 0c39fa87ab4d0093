"""Who is found to have it: the live before the past, in portions, by release or by sandbox, by worker and by feed."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction
from django.utils import timezone

from portal.accounts.models import User
from sandboxes.audit.models import Entry
from sandboxes.audit.services import verify
from sandboxes.lifecycle.models import Alarm, Sandbox
from sandboxes.lifecycle.phases import Phase
from sandboxes.screening import exposures, feeds, hints, matching_installs, reactions, tasks
from sandboxes.screening.models import Advisory, Change, Exposure, Progress
from tests.sandboxes.lifecycle import rows
from tests.sandboxes.screening.documents import affected, as_zip, document
from tests.sandboxes.screening.exposing import (
    BAD,
    malicious,
    phase_of,
    received,
    vulnerable,
    with_demo,
)

pytestmark = pytest.mark.django_db


def test_installed_after_the_advisory_came_before_the_index_knew(ada: User, alice: User) -> None:
    malicious(ada)
    exposures.expose()
    sandbox = with_demo(alice)
    exposures.expose()
    assert phase_of(sandbox) == Phase.ISOLATED
    assert Progress.objects.get().install == sandbox.installs.get().pk


def test_let_through_with_open_eyes_is_an_exposure_and_cuts_nobody_off(ada: User, alice: User) -> None:
    advisory = malicious(ada)
    exposures.expose()
    long_ago = timezone.now() - matching_installs.KNOWN_AFTER - timedelta(minutes=1)
    Advisory.objects.filter(pk=advisory.pk).update(imported_at=long_ago)
    sandbox = with_demo(alice)
    exposures.expose()
    found = Exposure.objects.get()
    assert (found.known_then, found.action, phase_of(sandbox)) == (True, "notify", Phase.READY)
    malicious(ada, month=9, summary="Other words")  # it does not turn against the waiver later
    exposures.expose()
    assert phase_of(sandbox) == Phase.READY


def test_another_file_of_it_joins_the_exposure(ada: User, alice: User) -> None:
    sandbox = with_demo(alice)
    malicious(ada)
    exposures.expose()
    more = received(sandbox, filename="demo-1.0.tar.gz", sha256="f" * 64)
    received(sandbox, "unrelated")
    exposures.expose()
    found = Exposure.objects.get()
    assert found.installs == sorted(sandbox.installs.filter(project="demo").values_list("pk", flat=True))
    assert more.pk in found.installs


def test_names_alike_in_another_ecosystem_are_not_it(ada: User, alice: User) -> None:
    sandbox = rows.ready(alice)
    received(sandbox, ecosystem="npm", filename="demo-1.0.tgz")
    malicious(ada)
    exposures.expose()
    assert not Exposure.objects.exists()


def test_many_versions_and_batches(ada: User, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching_installs, "CHANGES", 2)
    monkeypatch.setattr(matching_installs, "INSTALLS", 3)
    sandboxes = [with_demo(alice, f"1.{number}") for number in range(8)]
    received(sandboxes[0], "other")
    for number in range(5):
        malicious(ada, identity=f"MAL-2026-{number}", affected=[affected("demo", versions=[f"1.{number}"])])
    exposures.expose()
    assert [phase_of(one) for one in sandboxes] == ["isolated"] * 5 + ["ready"] * 3
    assert Progress.objects.get().install > 0


def test_a_hundred_live_ones(ada: User, alice: User) -> None:
    sandboxes = [with_demo(alice) for _ in range(100)]
    malicious(ada)
    exposures.expose()
    isolated = Sandbox.objects.filter(pk__in=[one.pk for one in sandboxes], phase=Phase.ISOLATED)
    assert isolated.filter(index_token_digest="").count() == 100
    assert Exposure.objects.exclude(acted_at=None).count() == 100
    assert Alarm.objects.get(kind=exposures.EXPOSED).count == 1
    assert verify().ok


def test_the_live_are_found_and_cut_off_before_the_past_is_looked_at(
    ada: User, alice: User, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that is killed in the past's years has cut off everybody by then; the next one finds the rest."""

    class Killed(BaseException):
        pass

    def killed(*given: Any) -> None:
        raise Killed

    live, past = with_demo(alice), with_demo(bob, phase=Phase.ENDED, next_check_at=None)
    exposures.expose()  # their installs are new no more
    malicious(ada)
    with monkeypatch.context() as patched:
        patched.setattr(matching_installs, "next_past", killed)
        with pytest.raises(Killed):
            exposures.expose()
    assert phase_of(live) == Phase.ISOLATED
    assert [found.sandbox_id for found in Exposure.objects.all()] == [live.pk]
    assert [change.live_done for change in Change.objects.all()] == [True]
    assert "1 live sandboxes received it" in Alarm.objects.get(kind=exposures.EXPOSED).message
    exposures.expose()
    assert set(Exposure.objects.values_list("sandbox", flat=True)) == {live.pk, past.pk}
    assert not Change.objects.exists()
    assert "1 live and 1 past sandboxes received it" in Alarm.objects.get(kind=exposures.EXPOSED).message
    told = [
        (entry.data["live"], entry.data["past"]) for entry in Entry.objects.filter(action="exposure.found")
    ]
    assert told == [(1, 0), (0, 1)]


def test_one_that_ends_between_the_two_looks_is_found_once_and_not_closed(ada: User, alice: User) -> None:
    sandbox = with_demo(alice)
    malicious(ada)
    with transaction.atomic():
        assert matching_installs.next_live(reactions.all_of(), malicious=True)
    Sandbox.objects.filter(pk=sandbox.pk).update(phase=Phase.ENDED, next_check_at=None)
    with transaction.atomic():
        outcome = matching_installs.next_past(reactions.all_of())
    assert outcome == matching_installs.Outcome([], [])
    assert Exposure.objects.get().closed_at is None


def test_what_is_written_while_the_past_is_looked_at_is_looked_at_too(
    ada: User, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker has by then done the live ones of it: the past of it is still to come."""
    malicious(ada)
    with transaction.atomic():
        matching_installs.next_live(reactions.all_of(), malicious=True)
    right = matching_installs._compared

    def written_meanwhile(*given: Any, **more: Any) -> Any:
        malicious(ada, month=4)
        Change.objects.update(live_done=True)
        return right(*given, **more)

    with monkeypatch.context() as patched, transaction.atomic():
        patched.setattr(matching_installs, "_compared", written_meanwhile)
        matching_installs.next_past(reactions.all_of())
    assert Change.objects.count() == 1


def test_the_past_is_closed_too(ada: User, alice: User, bob: User) -> None:
    with_demo(alice)
    with_demo(bob, phase=Phase.ENDED, next_check_at=None)
    malicious(ada)
    exposures.expose()
    malicious(ada, month=5, withdrawn="2026-05-01T00:00:00Z")
    exposures.expose()
    whys = set(Exposure.objects.exclude(closed_at=None).values_list("live", "closed_why"))
    assert whys == {(one, f"{BAD} was withdrawn on 2026-05-01.") for one in (True, False)}


def test_malware_does_not_wait_for_owners_to_be_told(
    ada: User, alice: User, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written while a hole is being told to those who have it: they go on being told after it."""
    monkeypatch.setattr(exposures, "PORTION", 1)
    hers, his = with_demo(alice), with_demo(bob)
    vulnerable(ada, "LOW")
    told: list[str] = []
    right = exposures._act_on

    def acted(exposure_id: int) -> bool:
        told.append(Exposure.objects.get(pk=exposure_id).action)
        if len(told) == 1:
            malicious(ada)
        return right(exposure_id)

    monkeypatch.setattr(exposures, "_act_on", acted)
    exposures.expose()
    assert told == ["notify", "isolate", "isolate", "notify"]
    assert [phase_of(one) for one in (hers, his)] == ["isolated", "isolated"]


def test_a_worker_with_the_past_leaves_the_live_to_another(ada: User, alice: User) -> None:
    """Its lock is one of its own: as another session has it here."""
    sandbox, past = with_demo(alice), with_demo(alice, phase=Phase.ENDED, next_check_at=None)
    exposures.expose()
    malicious(ada)
    parameters = connection.get_connection_params()
    parameters.pop("cursor_factory", None)
    parameters.pop("context", None)
    with psycopg.connect(**parameters, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [exposures._PAST_LOCK])
        assert not exposures.expose()
        assert phase_of(sandbox) == Phase.ISOLATED
        assert not Exposure.objects.filter(sandbox=past).exists()
    assert exposures.expose()
    assert Exposure.objects.filter(sandbox=past).exists()


@pytest.mark.parametrize("by_release", [0, 10_000])
def test_by_release_or_by_sandbox_finds_the_same(
    ada: User, alice: User, monkeypatch: pytest.MonkeyPatch, by_release: int
) -> None:
    """What everybody has is looked for in what live sandboxes have; what few have, by itself."""
    monkeypatch.setattr(matching_installs, "BY_RELEASE", by_release)
    hers, spared = with_demo(alice), with_demo(alice, "2.0")
    more = received(hers, filename="demo-1.0.tar.gz", sha256="f" * 64)
    received(hers, "unrelated")
    past = with_demo(alice, phase=Phase.ENDED, next_check_at=None)
    malicious(ada)
    with transaction.atomic():
        outcome = matching_installs.next_live(reactions.all_of(), malicious=True)
    assert outcome is not None
    assert [(pair.sandbox, pair.live) for pair in outcome.found] == [(hers.pk, True)]
    found = Exposure.objects.get()
    assert (found.sandbox_id, more.pk in found.installs, len(found.installs)) == (hers.pk, True, 2)
    assert not Exposure.objects.filter(sandbox__in=[spared, past]).exists()


def test_a_portion_of_the_past_holds_what_fits_and_at_least_one(
    ada: User, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching_installs, "HITS", 2)
    for number in range(3):
        with_demo(alice, f"1.{number}", phase=Phase.ENDED, next_check_at=None)
        malicious(ada, identity=f"MAL-{number}", affected=[affected("demo", versions=[f"1.{number}"])])
    everything = affected("demo", versions=["1.0", "1.1", "1.2"])
    malicious(ada, identity="MAL-9", affected=[everything])
    with transaction.atomic():
        matching_installs.next_live(reactions.all_of(), malicious=True)
    left = []
    while True:
        with transaction.atomic():
            if matching_installs.next_past(reactions.all_of()) is None:
                break
        left.append(sorted(Change.objects.values_list("advisory", flat=True)))
    assert left == [["MAL-2", "MAL-9"], ["MAL-9"], []]
    assert Exposure.objects.filter(advisory="MAL-9").count() == 3


def test_a_feed_leaves_work_and_a_hint(
    alice: User, tmp_path: Path, django_capture_on_commit_callbacks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one that is taken in again without news leaves neither."""
    sandbox = with_demo(alice)
    sent: list[str] = []
    monkeypatch.setattr(
        "sandboxes.screening.hints.current_app.send_task", lambda name, **given: sent.append(name)
    )
    dump = as_zip(
        tmp_path / "dump.zip", document(BAD, affected("demo", versions=["1.0"])), document("GHSA-1")
    )
    for _ in range(2):
        with django_capture_on_commit_callbacks(execute=True):
            feeds.import_feed(str(dump), by=None)
    assert sent == [hints.EXPOSE]
    assert [change.malicious for change in Change.objects.order_by("-malicious", "id")] == [True, False]
    tasks.expose()
    assert phase_of(sandbox) == Phase.ISOLATED


def test_a_queue_that_is_away_keeps_no_advisory_out(
    ada: User, django_capture_on_commit_callbacks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(name: str, **given: Any) -> None:
        raise OSError("no broker")

    monkeypatch.setattr("sandboxes.screening.hints.current_app.send_task", away)
    with django_capture_on_commit_callbacks(execute=True):
        malicious(ada)
    assert Change.objects.count() == 1
