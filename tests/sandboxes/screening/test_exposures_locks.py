"""The order in which those who tell take their locks: all rows first, each in the same order, the ledger last."""

import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from portal.accounts.models import User
from sandboxes.audit import services
from sandboxes.audit.models import Entry
from sandboxes.lifecycle import alarms, honeytokens
from sandboxes.lifecycle.bait import Kind
from sandboxes.lifecycle.models import Alarm, Honeytoken, HoneytokenUse, Sandbox
from sandboxes.lifecycle.phases import Phase
from sandboxes.screening import exposures
from sandboxes.screening.matching_installs import Outcome, Pair
from tests.portal.web import world
from tests.sandboxes.screening.exposing import malicious, with_demo

_LEDGER = "SELECT pg_advisory_xact_lock("
_ALARM = re.compile(r'(UPDATE|INSERT INTO) "lifecycle_alarm"')


def transactions(captured: CaptureQueriesContext) -> Iterator[list[str]]:
    """The statements of each, from its BEGIN on."""
    found: list[list[str]] = []
    for query in captured.captured_queries:
        if query["sql"] == "BEGIN":
            found.append([])
        if found:
            found[-1].append(query["sql"])
    yield from found


def under_the_ledgers_lock(statements: list[str]) -> list[str]:
    first = next(
        (number for number, sql in enumerate(statements) if sql.startswith(_LEDGER)), len(statements)
    )
    return statements[first:]


@pytest.mark.django_db(transaction=True)
def test_exposures_are_told_in_one_order(ada: User, alice: User) -> None:
    sandbox = with_demo(alice)
    names = ["MAL-C", "MAL-A", "MAL-B"]
    for name in names:
        malicious(ada, identity=name)
    with transaction.atomic(), CaptureQueriesContext(connection) as captured:
        found = [Pair(name, sandbox.pk, True, "malicious") for name in names]
        exposures._tell(Outcome(found, [Pair("MAL-0", sandbox.pk, True, "malicious", "Why.")]))
    statements = [query["sql"] for query in captured.captured_queries]
    late = under_the_ledgers_lock(statements)
    assert late
    assert not [sql for sql in late if _ALARM.match(sql) or "screening_exposure" in sql]
    written = [sql for sql in statements if sql.startswith('UPDATE "lifecycle_alarm"')]
    subjects = [found for sql in written for found in re.findall(r"advisory:(MAL-\w)", sql)]
    assert list(dict.fromkeys(subjects)) == ["MAL-0", "MAL-A", "MAL-B", "MAL-C"]
    assert Entry.objects.filter(action="exposure.found").count() == 3
    assert Entry.objects.filter(action="alarm.raised").count() == 3


@pytest.mark.django_db(transaction=True)
def test_two_who_tell_of_the_same_do_not_wait_for_each_other(
    ada: User, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One writes into the ledger when the other has an alarm that the first one wants as well."""
    sandbox = with_demo(alice)
    for name in ("MAL-A", "MAL-B"):
        malicious(ada, identity=name)
        alarms.alarm(exposures.EXPOSED, f"advisory:{name}", "It is open.")
    right, written, waiting = services.record, threading.Event(), threading.Event()

    def record(**given: Any) -> Any:
        if threading.current_thread().name == "past" and given["subject"].endswith("MAL-B"):
            right(**given)
            written.set()
            waiting.wait(1)  # nobody comes, if the other is kept waiting by the alarm's row
            return
        if threading.current_thread().name == "live":
            waiting.set()
            written.wait(1)
        right(**given)

    monkeypatch.setattr(exposures, "record", record)
    failed: list[str] = []

    def tell(*names: str) -> None:
        try:
            with transaction.atomic():
                exposures._tell(Outcome([Pair(name, sandbox.pk, True, "malicious") for name in names], []))
        except DatabaseError as error:
            failed.append(str(error))
        finally:
            connection.close()

    threads = [
        threading.Thread(target=tell, args=("MAL-B", "MAL-A"), name="past"),
        threading.Thread(target=tell, args=("MAL-A",), name="live"),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert Entry.objects.filter(action="exposure.found").count() == 3


def use(sandbox: Sandbox, which: Kind, seen_in: Sandbox) -> None:
    token = Honeytoken.objects.get(sandbox=sandbox, kind=which)
    HoneytokenUse.objects.create(token=token, seen_in=seen_in, method="GET", path="/", address="10.0.0.9")


@pytest.mark.django_db(transaction=True)
def test_uses_of_honeytokens_wait_for_nobody_under_the_ledgers_lock(
    alice: User, bob: User, settings: Any
) -> None:
    settings.HONEYTOKEN_ACTION = "isolate"
    hers, his = world.ready(alice), world.ready(bob)
    for sandbox in (hers, his):
        honeytokens.plant(sandbox)
    use(hers, Kind.AWS, seen_in=his)
    use(his, Kind.SSH, seen_in=hers)
    with CaptureQueriesContext(connection) as captured:
        assert honeytokens.tell() == 2
    assert set(Sandbox.objects.values_list("phase", flat=True)) == {Phase.ISOLATED}
    assert Alarm.objects.filter(kind="honeytoken").count() == 2
    found = list(transactions(captured))
    assert len([each for each in found if under_the_ledgers_lock(each)]) >= 3, (
        "one for each place, one for telling"
    )
    for each in found:
        locked = {row for sql in each for row in re.findall(r'"lifecycle_sandbox"."id" = (\d+).*FOR ', sql)}
        assert len(locked) <= 1, "it locks one place after the other"
    *_, told = [each for each in found if any("told_at" in sql for sql in each)]
    assert under_the_ledgers_lock(told)
    assert not [sql for sql in under_the_ledgers_lock(told) if _ALARM.match(sql)]


@pytest.mark.django_db(transaction=True)
def test_who_is_killed_after_isolating_has_it_told_the_next_time(
    alice: User, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.HONEYTOKEN_ACTION = "isolate"
    sandbox = world.ready(alice)
    honeytokens.plant(sandbox)
    use(sandbox, Kind.AWS, seen_in=sandbox)

    class Killed(BaseException):
        pass

    def killed(groups: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(honeytokens, "_tell", killed)
        with pytest.raises(Killed):
            honeytokens.tell()
    sandbox.refresh_from_db()
    assert (sandbox.phase, Alarm.objects.filter(kind="honeytoken").count()) == (Phase.ISOLATED, 0)
    assert honeytokens.tell() == 1
    assert Alarm.objects.get(kind="honeytoken").count == 1
    assert Entry.objects.filter(action="sandbox.isolation_noted").count() == 0
