"""Taking in a feed of advisories, as large as they come, again and again.

Records are written in batches, each in a transaction of its own: whoever writes policy meanwhile (a
waiver has to be effective within seconds) waits for one batch at most, since each raises the
index's policy epoch. A record whose `modified` is no later than what is here is not written again, so
a feed without news changes nothing and raises nothing.

**The ledger** has one entry for each import, written when it ends, also when it ends badly. Until then
each batch keeps the sum of what was written in `Feed.unrecorded`, in the batch's own transaction; what
an import that was killed left there is entered by the next one.

**A broken record** is skipped, counted and named. That PostgreSQL refuses one shows only when its whole
batch is refused; then the batch is halved until that one is found.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final

from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from sandboxes.audit.services import Actor, record
from sandboxes.errors import ConflictError, InvalidInputError, PetridishError
from sandboxes.screening import osv, records, storage
from sandboxes.screening.models import Feed

BATCH: Final = 2000  # records
BATCH_BYTES: Final = 32 * records.MIB  # of JSON, if that comes first
MOST_NAMED: Final = 20  # broken records
_IMPORT_LOCK: Final = 0x61647669736F7279  # any constant: it names the lock of the one import at a time


@dataclass
class Counts:
    """What became of the records; the first broken ones with their reasons."""

    read: int = 0
    new: int = 0
    changed: int = 0
    withdrawn: int = 0  # of `changed`
    restored: int = 0  # of `changed`
    unchanged: int = 0
    elsewhere: int = 0
    broken: int = 0
    broken_named: list[str] = field(default_factory=list)

    def add(self, written: storage.Written) -> None:
        for name, number in asdict(written).items():
            setattr(self, name, getattr(self, name) + number)

    def note_broken(self, name: str, reason: object) -> None:
        self.broken += 1
        if len(self.broken_named) < MOST_NAMED:
            self.broken_named.append(f"{name[:200]}: {str(reason)[:200]}")


def import_feed(source: str, *, by: Actor | None) -> Counts:
    """Reads all of `source` (a path or an https URL) and writes what is new. Raises `PetridishError`."""
    with _alone():
        return _Import(records.named(source), by).run(source)


class _Import:
    """One import, from its first record to its ledger entry."""

    def __init__(self, name: str, by: Actor | None) -> None:
        self._name = name
        self._by = by
        self._now = timezone.now()
        self._newest: datetime | None = None
        self._counts = Counts()

    def run(self, source: str) -> Counts:
        _enter_interrupted(self._by)
        try:
            with records.opened(source) as items:
                self._start()
                for batch in self._batches(items):
                    self._write(batch)
            self._check()
        except PetridishError as error:
            if Feed.objects.filter(pk=self._name).exists():  # else it is no feed yet: a slip of the keyboard
                self._end(str(error))
            raise
        self._end("")
        return self._counts

    def _start(self) -> None:
        Feed.objects.update_or_create(
            source=self._name, defaults={"attempted_at": self._now, "error": "", "unrecorded": None}
        )

    def _batches(self, items: Iterable[records.Item]) -> Iterator[list[osv.Record]]:
        """Of one id the newest record: a list may hold several."""
        batch: dict[str, osv.Record] = {}
        size = 0
        for item in items:
            self._counts.read += 1
            found = self._read(item)
            if found is None:
                continue
            other = batch.get(found.id)
            if other is None or other.modified < found.modified:
                batch[found.id] = found
            if other is not None:
                self._counts.unchanged += 1
            size += item.size
            if len(batch) >= BATCH or size >= BATCH_BYTES:
                yield list(batch.values())
                batch, size = {}, 0
        yield list(batch.values())

    def _read(self, item: records.Item) -> osv.Record | None:
        try:
            if item.fault:
                raise osv.BrokenRecordError(item.fault)
            found = osv.read(item.document, self._now)
            if found.id.startswith(osv.OWN):
                raise osv.BrokenRecordError(f"{found.id} is an id of our own")
        except osv.BrokenRecordError as error:
            self._counts.note_broken(item.name, error)
            return None
        self._newest = found.modified if self._newest is None else max(self._newest, found.modified)
        return found

    def _write(self, batch: list[osv.Record]) -> None:
        try:
            with transaction.atomic():
                written = storage.write(batch, source=self._name, now=self._now)
                if written.new or written.changed:
                    so_far = _sum(self._counts, written)
                    Feed.objects.filter(source=self._name).update(unrecorded=so_far)
        except DatabaseError as error:
            if not storage.is_about_content(error):
                raise
            self._halve(batch, error)
        else:
            self._counts.add(written)

    def _halve(self, batch: list[osv.Record], error: DatabaseError) -> None:
        if len(batch) == 1:
            self._counts.note_broken(batch[0].id, f"the database refuses it: {str(error).splitlines()[0]}")
            return
        middle = len(batch) // 2
        self._write(batch[:middle])
        self._write(batch[middle:])

    def _check(self) -> None:
        """An empty answer is an outage at the other side, not news: it must not count as fresh."""
        if self._counts.read == self._counts.broken:
            named = "; ".join(self._counts.broken_named[:3])
            raise InvalidInputError(f"{self._name} holds no advisory that can be read. {named}".strip())

    @transaction.atomic
    def _end(self, error: str) -> None:
        changes: dict[str, Any] = {"attempted_at": self._now, "error": error, "unrecorded": None}
        if not error:
            changes |= {"succeeded_at": timezone.now(), "newest_modified": self._newest}
        Feed.objects.update_or_create(source=self._name, defaults=changes)
        data = asdict(self._counts) | {"error": error, "newest_modified": self._newest}
        action = "advisories.import_failed" if error else "advisories.imported"
        record(actor=self._by, action=action, subject=_subject(self._name), data=data)


def _sum(counts: Counts, written: storage.Written) -> dict[str, Any]:
    both = Counts(**asdict(counts))
    both.add(written)
    return asdict(both)


def _subject(source: str) -> str:
    return f"feed:{source}"


def _enter_interrupted(by: Actor | None) -> None:
    """Nobody imports now but us, so whoever left this is gone."""
    for feed in Feed.objects.filter(unrecorded__isnull=False).order_by("source"):
        with transaction.atomic():
            Feed.objects.filter(pk=feed.pk).update(unrecorded=None, error="It was interrupted.")
            subject = _subject(feed.source)
            record(actor=by, action="advisories.import_interrupted", subject=subject, data=feed.unrecorded)


@contextmanager
def _alone() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [_IMPORT_LOCK])
        (taken,) = cursor.fetchone()
    if not taken:
        raise ConflictError("Advisories are being imported already; try again when that has ended.")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [_IMPORT_LOCK])
