"""What network policies dropped, taken from the cluster's own logs: attempts to get out that the proxy never saw.

They become rows beside the proxy's refusals (`Connection`, `source` "policy"), so what was downloaded before them is
found in the same way. One row is one destination for as long as it is tried again within `EPISODE`; it counts, and
has its first and last time. A shipper that is unsure sends a batch again: what is not newer than the row's last time
is taken to be in it already, so a count may be too low and is never too high. A sandbox has at most `MOST_ROWS` rows;
beyond that, the newest of them counts on.

The probe tries in vain on purpose and all the time; its pod is left out.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from django.db import connection, transaction
from django.db.models import Q

from sandboxes.cluster.names import PROBE_POD
from sandboxes.lifecycle import clock
from sandboxes.lifecycle.models import Sandbox
from sandboxes.usage.models import Connection
from sandboxes.usage.policy_lines import Drop, Passed, Unknown, read

REASON: Final = "A network policy dropped it."
EPISODE: Final = timedelta(minutes=10)
MOST_ROWS: Final = 500  # of one sandbox
LATELY: Final = timedelta(days=2)  # after its end, a sandbox's lines may still come
AHEAD: Final = timedelta(minutes=10)  # of our clock, that a node's may be
NAMED: Final = 10  # lines of a batch that are named
_LOCK: Final = 0x706F6C69  # any constant: with a sandbox's number it names a lock


@dataclass
class Taken:
    """What became of a batch's lines. `known` were in it already; `elsewhere` is about no sandbox of ours."""

    lines: int = 0
    counted: int = 0
    known: int = 0
    passed: int = 0
    elsewhere: int = 0
    unknown: int = 0
    named: list[str] = field(default_factory=list)

    def add(self, other: "Taken") -> None:
        for name in ("lines", "counted", "known", "passed", "elsewhere", "unknown"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.named += other.named[: NAMED - len(self.named)]


def take(text: str, *, cluster: str = "", first: int = 1) -> Taken:
    """Reads lines, or an array of records. `cluster`: whose they are; "" where namespaces alone tell.

    `first` is the first line's number, for those that are named.
    """
    taken = Taken()
    by_namespace: dict[str, list[Drop]] = defaultdict(list)
    limit = clock.now() + AHEAD
    for number, found in enumerate(read(text), 1):
        taken.lines += 1
        ahead = isinstance(found, Drop) and found.at > limit
        one = Unknown(number, "its time is ahead of ours") if ahead else found
        match one:
            case Unknown():
                taken.unknown += 1
                if len(taken.named) < NAMED:
                    taken.named.append(f"{one.number + first - 1}: {one.why}")
            case Passed():
                taken.passed += 1
            case Drop() if one.pod == PROBE_POD:
                taken.passed += 1
            case Drop():
                by_namespace[one.namespace].append(one)
    sandboxes = _sandboxes(by_namespace, cluster)
    for namespace, drops in sorted(by_namespace.items()):
        pk = sandboxes.get(namespace)
        if pk is None:
            taken.elsewhere += len(drops)
            continue
        counted = _write(pk, sorted(drops, key=lambda drop: drop.at))
        taken.counted += counted
        taken.known += len(drops) - counted
    return taken


def _sandboxes(namespaces: Iterable[str], cluster: str) -> dict[str, int]:
    """By namespace, those that live or ended lately."""
    recent = Q(ended_at=None) | Q(ended_at__gt=clock.now() - LATELY)
    rows = Sandbox.objects.filter(recent, namespace__in=list(namespaces))
    if cluster:
        rows = rows.filter(cluster=cluster)
    return {str(name): pk for name, pk in rows.values_list("namespace", "pk")}


@transaction.atomic
def _write(sandbox_id: int, drops: list[Drop]) -> int:
    """How many counted. One batch at a time for each sandbox, or two would make the same row."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [_LOCK, sandbox_id % 2**31])
    book = _Book(sandbox_id)
    counted = sum(map(book.add, drops))
    book.save()
    return counted


class _Book:
    """The rows of one sandbox, while a batch is taken."""

    def __init__(self, sandbox_id: int) -> None:
        self._sandbox_id = sandbox_id
        rows = Connection.objects.filter(sandbox=sandbox_id, source=Connection.POLICY)
        self._rows = list(rows.order_by("-seen_at", "-id")[:MOST_ROWS])
        self._by_key: dict[tuple[str, str, int, str], list[Connection]] = defaultdict(list)
        for row in self._rows:
            self._by_key[row.host, row.address, row.port, row.protocol].append(row)
        self._changed: set[Connection] = set()
        self._made: list[Connection] = []

    def add(self, drop: Drop) -> bool:
        """False: it was there."""
        key = (drop.host, drop.address, drop.port, drop.protocol)
        row = next((row for row in self._by_key[key] if _is_of(row, drop)), None)
        if row is None and len(self._rows) >= MOST_ROWS:
            row = max(self._rows, key=_last)
            if drop.at <= _last(row):
                return False
        if row is None:
            row = self._make(drop)
            self._by_key[key].append(row)
            return True
        if row.at <= drop.at <= _last(row):
            return False
        row.at, row.seen_at = min(row.at, drop.at), max(_last(row), drop.at)
        row.ended_at = row.seen_at
        row.repeats += 1
        if row.pk is not None:
            self._changed.add(row)
        return True

    def save(self) -> None:
        Connection.objects.bulk_create(self._made)
        Connection.objects.bulk_update(self._changed, ["at", "seen_at", "ended_at", "repeats"])

    def _make(self, drop: Drop) -> Connection:
        row = Connection(
            sandbox_id=self._sandbox_id,
            source=Connection.POLICY,
            at=drop.at,
            seen_at=drop.at,
            ended_at=drop.at,
            host=drop.host,
            address=drop.address,
            port=drop.port,
            protocol=drop.protocol,
            allowed=False,
            reason=REASON,
        )
        self._made.append(row)
        self._rows.append(row)
        return row


def _is_of(row: Connection, drop: Drop) -> bool:
    return row.at - EPISODE <= drop.at <= _last(row) + EPISODE


def _last(row: Connection) -> datetime:
    return row.seen_at or row.at
