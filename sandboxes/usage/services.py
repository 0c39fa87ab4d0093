"""Sealing fetch rows: each run of them is digested, and the digest stands in the ledger.

Rows are not chained one by one, which would put the ledger's lock on the index's
hot path. Instead a worker digests the rows since the last batch once a minute.
Batches leave no gap between them: one begins where the last ended, so a row added
later anywhere below the newest batch breaks the batch it falls into.

**Which rows are final?** Numbers are handed out in order, but commits come in any
order: row 8 can be visible while row 7 is still to come. A batch that ended at 8
would leave row 7 out for ever. Age does not decide it, for a transaction can be
arbitrarily slow, nor does `pg_snapshot_xmin`, for an INSERT draws its number
before it is given a transaction id. Table locks do: an INSERT takes ROW EXCLUSIVE
on the table before it draws a number and keeps it until its transaction ends.
So, as CREATE INDEX CONCURRENTLY does:

1. note the highest visible number; every number up to it has been drawn;
2. list the transactions that hold ROW EXCLUSIVE on the table now; whoever drew one
   of those numbers has either ended or is among them;
3. wait until each of these has ended (not those that came after).

From then on no row can appear up to the noted number. Nobody who writes is ever
blocked. It relies on a sequence without a per-session cache (PostgreSQL's default).
"""

import hashlib
import json
import logging
import time
from collections.abc import Iterable
from datetime import UTC

from django.db import connection, transaction
from django.db.models import Max, QuerySet

from sandboxes.audit import queries as ledger
from sandboxes.audit.services import record
from sandboxes.errors import TemporaryError
from sandboxes.usage.models import Fetch, FetchBatch, Install

BATCH_ROWS = 10_000
BATCHES_AT_ONCE = 20
WRITERS_WAIT = 5.0  # seconds for transactions under way; the index's take milliseconds
POLL = 0.05  # seconds
ACTION = "usage.sealed"
_TABLES: dict[type[Fetch] | type[Install], str] = {Fetch: "usage_fetch", Install: "usage_install"}
_SEAL_LOCK = 0x66657463686573  # any constant: it names the lock of the one worker that seals

logger = logging.getLogger(__name__)


def seal_fetches() -> int:
    """Seals what is final, oldest first, and returns how many rows that was.

    At most `BATCHES_AT_ONCE` batches of `BATCH_ROWS`; the rest waits for the next
    call. Two workers at once: one seals, the other finds the lock taken and leaves.
    """
    try:
        horizon = final_until(Fetch)
    except TemporaryError as error:
        logger.warning("Fetches are not sealed now: %s", error)
        return 0
    rows = 0
    for _ in range(BATCHES_AT_ONCE):
        batch = _seal_next(horizon)
        if batch is None:
            break
        rows += batch.rows
    return rows


def verify_batch(batch: FetchBatch) -> bool:
    """Whether the rows are still those whose digest stands in the ledger.

    The batch's own row proves nothing, whoever changes fetches can change it too:
    what counts is the ledger, which `audit.services.verify` vouches for.
    """
    sealed = ledger.about(_subject(batch)).filter(action=ACTION).first()
    if sealed is None or sealed.data != _evidence(batch):
        return False
    rows, found = _digest(_between(batch.first_id, batch.last_id).iterator(chunk_size=1000))
    return (rows, found) == (batch.rows, batch.digest)


def final_until(rows: type[Fetch] | type[Install]) -> int:
    """The number up to which no row can appear any more; 0 while there is none."""
    table = _TABLES[rows]
    highest = rows.objects.aggregate(highest=Max("id"))["highest"] or 0
    waiting = _writers(table)
    deadline = time.monotonic() + WRITERS_WAIT
    while waiting:
        if time.monotonic() > deadline:
            raise TemporaryError(f"{len(waiting)} transaction(s) that write to {table} do not end.")
        time.sleep(POLL)
        waiting &= _writers(table)
    return highest


def _writers(table: str) -> set[str]:
    """Other sessions' transactions that write to it now. A virtual transaction's name is used once."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT virtualtransaction FROM pg_locks"
            " WHERE locktype = 'relation' AND relation = %s::regclass AND granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            " AND mode = 'RowExclusiveLock' AND pid IS DISTINCT FROM pg_backend_pid()",
            [table],
        )
        return {name for (name,) in cursor.fetchall()}


@transaction.atomic
def _seal_next(horizon: int) -> FetchBatch | None:
    """The next batch up to `horizon` and its ledger entry; None: there is none, or another worker is at it."""
    if not _alone():
        return None
    first = (FetchBatch.objects.aggregate(last=Max("last_id"))["last"] or 0) + 1
    ids = _between(first, horizon).values_list("id", flat=True)[:BATCH_ROWS]
    last = max(ids, default=None)
    if last is None:
        return None
    rows, digest = _digest(_between(first, last).iterator(chunk_size=1000))
    batch = FetchBatch.objects.create(first_id=first, last_id=last, rows=rows, digest=digest)
    record(actor=None, action=ACTION, subject=_subject(batch), data=_evidence(batch))
    return batch


def _alone() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_SEAL_LOCK])
        (taken,) = cursor.fetchone()
    return bool(taken)


def _between(first: int, last: int) -> QuerySet[Fetch]:
    return Fetch.objects.filter(id__gte=first, id__lte=last).order_by("id")


def _subject(batch: FetchBatch) -> str:
    return f"fetches:{batch.first_id}-{batch.last_id}"


def _evidence(batch: FetchBatch) -> dict[str, object]:
    return {"digest": batch.digest, "rows": batch.rows}


def _digest(fetches: Iterable[Fetch]) -> tuple[int, str]:
    """How many, and the hex SHA-256 over one line of canonical JSON for each."""
    digest, count = hashlib.sha256(), 0
    for fetch in fetches:
        digest.update(_line(fetch))
        count += 1
    return count, digest.hexdigest()


def _line(fetch: Fetch) -> bytes:
    """Every column in the model's order, without spaces, the time in UTC with microseconds; a line feed.

    What policy said, how often, and an ecosystem other than Python's come last and only where there is
    such: rows of before these were kept stay as they were digested, and no value can be added to or taken
    from a row without its line changing.
    """
    at = fetch.at.astimezone(UTC).isoformat(timespec="microseconds")
    columns = [
        fetch.pk,
        fetch.sandbox_id,
        at,
        fetch.kind,
        fetch.project,
        fetch.filename,
        fetch.client,
        fetch.user_agent,
    ]
    ruled = [fetch.refused, fetch.withheld, fetch.withheld_by]
    elsewhere = fetch.ecosystem != "pypi"
    if any(ruled) or fetch.repeats or elsewhere:
        columns += ruled
    if fetch.repeats or elsewhere:
        columns.append(fetch.repeats)
    if elsewhere:
        columns.append(fetch.ecosystem)
    return json.dumps(columns, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
