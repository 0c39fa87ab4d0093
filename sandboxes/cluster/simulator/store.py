"""Objects and their history in SQLite: what survives `kill -9`.

Every write gets the next resource version and one row of history, which feeds
watches. History is trimmed, which is what makes old versions "expired" (410), as
in etcd. Write-ahead logging without syncing on each commit survives the death of
the process, if not of the machine, and keeps a write well under a millisecond.

Times are kept as fractions of seconds beside the objects, because the API's own
time stamps are whole seconds: controllers derive their timers from these.
"""

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from sandboxes.cluster.simulator.resources import BY_QUALIFIED, Resource

type Json = dict[str, Any]
type ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS objects (
    resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    uid TEXT NOT NULL UNIQUE, created REAL NOT NULL, deleted REAL, data TEXT NOT NULL,
    PRIMARY KEY (resource, namespace, name)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS objects_by_namespace ON objects (namespace) WHERE namespace <> '';
CREATE TABLE IF NOT EXISTS owners (
    owner TEXT NOT NULL, uid TEXT NOT NULL, PRIMARY KEY (owner, uid)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS changes (
    version INTEGER PRIMARY KEY, type TEXT NOT NULL, resource TEXT NOT NULL,
    namespace TEXT NOT NULL, old_labels TEXT, data TEXT NOT NULL
);
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One stored object with its exact times."""

    resource: Resource
    namespace: str
    name: str
    created: float
    deleted: float | None
    data: Json


@dataclass(frozen=True, slots=True)
class Change:
    """One write. `old_labels` is None when there was no object before."""

    version: int
    type: ChangeType
    resource: Resource
    namespace: str
    old_labels: Json | None
    data: Json


class Store:
    """Keeps objects; knows nothing of what they mean."""

    def __init__(self, path: Path, *, history: int = 20_000) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;" + _SCHEMA)
        self._history = history
        self._pending: list[Change] = []
        self._listeners: list[Callable[[Change], None]] = []
        self._in_transaction = False
        (self.version,) = self._db.execute("SELECT coalesce(max(version), 0) FROM changes").fetchone()

    def close(self) -> None:
        """Write everything back and let go of the file."""
        self._db.close()

    def listen(self, listener: Callable[[Change], None]) -> None:
        """Call `listener` with every change, after it is committed."""
        self._listeners.append(listener)

    @contextmanager
    def transaction(self, *, dry_run: bool = False) -> Iterator[None]:
        """All or nothing; `dry_run` is always nothing. Nested ones join the outer."""
        if self._in_transaction:
            yield
            return
        before, self._in_transaction = self.version, True
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._rollback(before)
            raise
        if dry_run:
            self._rollback(before)
            return
        self._db.execute("COMMIT")
        self._in_transaction = False
        pending, self._pending = self._pending, []
        for change in pending:
            for listener in self._listeners:
                listener(change)

    def _rollback(self, version: int) -> None:
        self._db.execute("ROLLBACK")
        self._in_transaction, self._pending, self.version = False, [], version

    # ---- reading

    def get(self, resource: Resource, namespace: str, name: str) -> Row | None:
        """One object."""
        rows = self._rows(
            "resource = ? AND namespace = ? AND name = ?", (resource.qualified, namespace, name)
        )
        return next(rows, None)

    def rows(
        self, resource: Resource, namespace: str | None = None, after: tuple[str, str] = ("", "")
    ) -> Iterator[Row]:
        """Objects in the order of namespace and name, from behind `after`."""
        if namespace is None:
            where, values = "(namespace, name) > (?, ?)", after
        else:
            where, values = "namespace = ? AND name > ?", (namespace, after[1])
        order = " ORDER BY namespace, name"
        return self._rows(f"resource = ? AND {where}{order}", (resource.qualified, *values))

    def count(self, resource: Resource, namespace: str | None, after: tuple[str, str]) -> int:
        """How many objects are behind `after`."""
        query = "SELECT count(*) FROM objects WHERE resource = ? AND (namespace, name) > (?, ?)"
        values: tuple[str, ...] = (resource.qualified, *after)
        if namespace is not None:
            query, values = query + " AND namespace = ?", (*values, namespace)
        return int(self._db.execute(query, values).fetchone()[0])

    def contents(self, namespace: str) -> list[Row]:
        """Everything in a namespace."""
        return list(self._rows("namespace = ? AND namespace <> ''", (namespace,)))

    def everything(self) -> list[Row]:
        """Every object: for start-up only."""
        return list(self._rows("TRUE", ()))

    def by_uid(self, uid: str) -> Row | None:
        """The object with that UID."""
        return next(self._rows("uid = ?", (uid,)), None)

    def dependents(self, uid: str) -> list[Row]:
        """Objects that name `uid` as an owner."""
        return list(self._rows("uid IN (SELECT uid FROM owners WHERE owner = ?)", (uid,)))

    def changes(self, resource: Resource, namespace: str | None, since: int) -> list[Change]:
        """The history behind version `since`; `oldest` says how far back it reaches."""
        query = (
            "SELECT version, type, resource, namespace, old_labels, data FROM changes"
            " WHERE version > ? AND resource = ? AND (? IS NULL OR namespace = ?) ORDER BY version"
        )
        found = self._db.execute(query, (since, resource.qualified, namespace, namespace))
        return [
            Change(version, kind, BY_QUALIFIED[name], space, old and json.loads(old), json.loads(data))
            for version, kind, name, space, old, data in found
        ]

    @property
    def oldest(self) -> int:
        """The oldest version from which a watch can still start."""
        (first,) = self._db.execute("SELECT min(version) FROM changes").fetchone()
        return (first or 1) - 1

    def _rows(self, where: str, values: tuple[str, ...]) -> Iterator[Row]:
        query = f"SELECT resource, namespace, name, created, deleted, data FROM objects WHERE {where}"  # noqa: S608
        for resource, namespace, name, created, deleted, data in self._db.execute(query, values).fetchall():
            yield Row(BY_QUALIFIED[resource], namespace, name, created, deleted, json.loads(data))

    # ---- writing

    def save(self, resource: Resource, data: Json) -> Json:
        """Insert or replace; returns the object with its new resource version."""
        metadata = data["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        old = self.get(resource, namespace, name)
        now = time.time()
        deleted = (old and old.deleted) or (now if "deletionTimestamp" in metadata else None)
        metadata["resourceVersion"] = str(self.version + 1)
        with self.transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    *(resource.qualified, namespace, name, metadata["uid"]),
                    *(old.created if old else now, deleted, json.dumps(data)),
                ),
            )
            self._save_owners(metadata)
            self._record("MODIFIED" if old else "ADDED", resource, old.data if old else None, data)
        return data

    def remove(self, row: Row) -> Json:
        """Delete for good; returns the last state."""
        uid = row.data["metadata"]["uid"]
        row.data["metadata"]["resourceVersion"] = str(self.version + 1)
        with self.transaction():
            self._db.execute("DELETE FROM objects WHERE uid = ?", (uid,))
            self._db.execute("DELETE FROM owners WHERE uid = ?", (uid,))
            self._record("DELETED", row.resource, row.data, row.data)
        return row.data

    def _save_owners(self, metadata: Json) -> None:
        self._db.execute("DELETE FROM owners WHERE uid = ?", (metadata["uid"],))
        owners = [(owner["uid"], metadata["uid"]) for owner in metadata.get("ownerReferences") or ()]
        self._db.executemany("INSERT OR IGNORE INTO owners VALUES (?, ?)", owners)

    def _record(self, kind: ChangeType, resource: Resource, old: Json | None, data: Json) -> None:
        self.version += 1
        namespace = data["metadata"].get("namespace", "")
        labels = None if old is None else old["metadata"].get("labels", {})
        self._db.execute(
            "INSERT INTO changes VALUES (?, ?, ?, ?, ?, ?)",
            (
                *(self.version, kind, resource.qualified, namespace),
                *(None if labels is None else json.dumps(labels), json.dumps(data)),
            ),
        )
        self._db.execute("DELETE FROM changes WHERE version <= ?", (self.version - self._history,))
        self._pending.append(Change(self.version, kind, resource, namespace, labels, data))
