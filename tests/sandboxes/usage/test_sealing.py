"""Fetches are sealed whole, in order, once, and what is sealed cannot be changed unseen."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from django.db import connection

from sandboxes.audit.models import Entry
from sandboxes.audit.services import record, verify
from sandboxes.lifecycle.models import Sandbox
from sandboxes.usage import services, tasks
from sandboxes.usage.models import Fetch, FetchBatch

type Put = Callable[..., Fetch]


def _batches() -> list[tuple[int, int, int]]:
    return list(FetchBatch.objects.order_by("id").values_list("first_id", "last_id", "rows"))


def test_nothing_to_seal(db: None) -> None:
    assert services.seal_fetches() == 0
    assert not FetchBatch.objects.exists()
    assert not Entry.objects.filter(action="usage.sealed").exists()


def test_a_batch_and_its_entry(fetched: Put) -> None:
    rows = [fetched() for _ in range(3)]
    assert services.seal_fetches() == 3
    batch = FetchBatch.objects.get()
    assert (batch.first_id, batch.last_id, batch.rows) == (1, rows[-1].pk, 3)
    entry = Entry.objects.get(action="usage.sealed")
    assert entry.subject == f"fetches:1-{rows[-1].pk}"
    assert entry.data == {"digest": batch.digest, "rows": 3}
    assert entry.actor_id is None
    assert verify().ok
    assert services.verify_batch(batch)
    assert services.seal_fetches() == 0


def test_batches_are_bounded_and_leave_no_gap(fetched: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "BATCH_ROWS", 2)
    monkeypatch.setattr(services, "BATCHES_AT_ONCE", 2)
    ids = [fetched().pk for _ in range(5)]
    assert services.seal_fetches() == 4
    assert services.seal_fetches() == 1
    assert _batches() == [(1, ids[1], 2), (ids[1] + 1, ids[3], 2), (ids[3] + 1, ids[4], 1)]
    assert all(services.verify_batch(batch) for batch in FetchBatch.objects.all())


@pytest.fixture
def sealed(fetched: Put) -> FetchBatch:
    """Three rows, with a gap before the last: its number was drawn by a transaction that failed."""
    fetched()
    fetched("numpy")
    gone = fetched()
    fetched("polars")
    gone.delete()
    services.seal_fetches()
    return FetchBatch.objects.get()


def _change(batch: FetchBatch) -> None:
    Fetch.objects.filter(project="numpy").update(project="nunpy")


def _move(batch: FetchBatch) -> None:
    """As if it had come from elsewhere."""
    Fetch.objects.filter(project="numpy").update(ecosystem="npm")


def _remove(batch: FetchBatch) -> None:
    Fetch.objects.filter(project="numpy").delete()


def _fill_the_gap(batch: FetchBatch) -> None:
    first, last = Fetch.objects.order_by("id").first(), batch.last_id
    assert first is not None
    first.pk = last - 1
    first.save(force_insert=True)


def _swap(batch: FetchBatch) -> None:
    Fetch.objects.filter(project="numpy").update(project="polars")
    Fetch.objects.filter(pk=batch.last_id).update(project="numpy")


def _change_both(batch: FetchBatch) -> None:
    """Whoever can change the rows can change the batch too; not the ledger."""
    _change(batch)
    rows, batch.digest = services._digest(Fetch.objects.order_by("id"))
    batch.save()
    assert rows == batch.rows


@pytest.mark.parametrize("tamper", [_change, _move, _remove, _fill_the_gap, _swap, _change_both])
def test_tampering_is_seen(sealed: FetchBatch, tamper: Callable[[FetchBatch], None]) -> None:
    assert services.verify_batch(sealed)
    tamper(sealed)
    assert not services.verify_batch(sealed)


def test_a_batch_the_ledger_does_not_know(sealed: FetchBatch) -> None:
    sealed.last_id += 1
    assert not services.verify_batch(sealed)


def test_the_digest_will_be_the_same_in_ten_years() -> None:
    row = Fetch(
        id=7,
        sandbox_id=3,
        at=datetime(2026, 11, 22, 18, 7, 10, tzinfo=UTC),
        kind="file",
        project="six",
        filename="six-1.17.0.whl",
        client="pip 26.3",
        user_agent='a "ü"\n',
    )
    line = (
        '[7,3,"2026-11-22T18:07:10.000000+00:00","file","six","six-1.17.0.whl","pip 26.3","a \\"ü\\"\\n"]\n'
    ).encode()
    assert services._line(row) == line
    assert services._digest([row]) == (
        1,
        "109bf7bea92d14920c8d424c9ac39611eecd4ff90f8867b97df862ea58473fac",
    )


@pytest.mark.parametrize("column", ["refused", "withheld", "withheld_by"])
def test_what_policy_said_is_sealed_too_and_cannot_be_added_later(sealed: FetchBatch, column: str) -> None:
    Fetch.objects.filter(pk=sealed.last_id).update(**{column: "cooldown"})
    assert not services.verify_batch(sealed)


def test_the_task_has_the_name_that_beat_sends(fetched: Put) -> None:
    fetched()
    assert tasks.seal_fetches.name == "sandboxes.usage.tasks.seal_fetches"
    tasks.seal_fetches()
    assert FetchBatch.objects.count() == 1


# From here on with other connections: what they do must be seen, so nothing is rolled back.


class Writer:
    """Another process of the index, on a connection of its own."""

    def __init__(self, sandbox: Sandbox) -> None:
        given = connection.settings_dict
        self._sandbox = sandbox.pk
        self.connection = psycopg.connect(
            host=given["HOST"] or None, port=given["PORT"] or None, user=given["USER"], dbname=given["NAME"]
        )

    def begin(self) -> int:
        """Inserts a row and does not commit it; its number."""
        row = self.connection.execute(
            "INSERT INTO usage_fetch (sandbox_id, kind, project, filename, client, user_agent)"
            " VALUES (%s, 'page', 'late', '', '', '') RETURNING id",
            [self._sandbox],
        ).fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture
def others(transactional_db: None, sandbox: Sandbox) -> Iterator[Callable[[], Writer]]:
    opened: list[Writer] = []

    def open_one() -> Writer:
        opened.append(Writer(sandbox))
        return opened[-1]

    yield open_one
    for writer in opened:
        writer.connection.close()


def test_a_number_that_is_drawn_and_not_committed_is_waited_for(
    others: Callable[[], Writer],
    fetched: Put,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(services, "WRITERS_WAIT", 0.2)
    late = others()
    low = late.begin()
    high = fetched().pk
    assert low < high
    assert services.seal_fetches() == 0  # not even the committed row: the late one would be left out for ever
    assert "not sealed now" in caplog.text
    late.connection.commit()
    assert services.seal_fetches() == 2
    assert _batches() == [(1, high, 2)]


def test_it_goes_on_as_soon_as_the_late_one_ends(others: Callable[[], Writer], fetched: Put) -> None:
    late = others()
    late.begin()
    fetched()
    timer = threading.Timer(0.3, late.connection.rollback)
    timer.start()
    assert services.seal_fetches() == 1
    timer.join()


def test_those_who_come_later_are_not_waited_for(
    others: Callable[[], Writer], fetched: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy index somebody always writes; sealing must not wait for a quiet moment."""
    early, later = others(), others()
    early.begin()
    high = fetched().pk

    def meanwhile(_: float) -> None:
        early.connection.commit()
        later.begin()

    monkeypatch.setattr("sandboxes.usage.services.time.sleep", meanwhile)
    assert services.seal_fetches() == 2
    assert _batches() == [(1, high, 2)]


def test_writers_are_never_blocked(
    others: Callable[[], Writer], fetched: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = others()
    writer.connection.execute("SET lock_timeout = '1s'")
    fetched()

    def slow(**given: Any) -> Any:
        entry = record(**given)
        writer.begin()  # while the batch is not yet committed
        writer.connection.commit()
        return entry

    monkeypatch.setattr("sandboxes.usage.services.record", slow)
    assert services.seal_fetches() == 1


def test_of_two_workers_one_leaves(others: Callable[[], Writer], fetched: Put) -> None:
    fetched()
    other = others()
    other.connection.execute("SELECT pg_advisory_xact_lock(%s)", [services._SEAL_LOCK])
    assert services.seal_fetches() == 0
    other.connection.rollback()
    assert services.seal_fetches() == 1
