"""Objects and their history in SQLite: what survives `kill -9`.

Every write gets the next resource version and one row of history, which feeds
watches. History is trimmed, which is what makes old versions "expired" (410), as
in etcd. Write-ahead logging without syncing on each commit survives the death of
the process, if not of the machine, and keeps a write well under a millisecond.

Times are kept as fractions of seconds beside the objects, because the API's own
time stamps are whole seconds: controllers derive their timers from these.

Lists are served from text: each object's metadata and labels are kept beside it, and
every label has a row of its own, so a page costs what is on it, however many objects
there are.
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
    labels TEXT NOT NULL DEFAULT '{}', metadata TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (resource, namespace, name)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS objects_by_resource ON objects (resource);
CREATE TABLE IF NOT EXISTS labels (
    resource TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
    home TEXT NOT NULL, object TEXT NOT NULL, uid TEXT NOT NULL,
    PRIMARY KEY (resource, name, value, home, object)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS labels_by_uid ON labels (uid);
CREATE INDEX IF NOT EXISTS objects_by_namespace ON objects (namespace) WHERE namespace <> '';
CREATE TABLE IF NOT EXISTS owners (
    owner TEXT NOT NULL, uid TEXT NOT NULL, PRIMARY KEY (owner, uid)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS changes (
    version INTEGER PRIMARY KEY, type TEXT NOT NULL, resource TEXT NOT NULL,
    namespace TEXT NOT NULL, old_labels TEXT, data TEXT NOT NULL
);
"""

# An older version's file has no texts yet.
_ADD_TEXTS: Final = """
ALTER TABLE objects ADD COLUMN labels TEXT NOT NULL DEFAULT '{}';
ALTER TABLE objects ADD COLUMN metadata TEXT NOT NULL DEFAULT '';
"""
_SELECTIVE: Final = 100


@dataclass(frozen=True, slots=True)
class Listed:
    """One object of a list: its key, its labels as JSON, and the text of it that was asked for."""

    namespace: str
    name: str
    labels: str
    text: str


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
        self._db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")
        columns = {row[1] for row in self._db.execute("PRAGMA table_info(objects)")}
        self._db.executescript((_ADD_TEXTS if columns and "metadata" not in columns else "") + _SCHEMA)
        self._history = history
        self._pending: list[Change] = []
        self._listeners: list[Callable[[Change], None]] = []
        self._in_transaction = False
        (self.version,) = self._db.execute("SELECT coalesce(max(version), 0) FROM changes").fetchone()
        for row in list(self._rows("metadata = ''", ())):
            self._save_texts(row.resource, row.data)

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

    def listed(
        self,
        resource: Resource,
        namespace: str | None,
        after: tuple[str, str],
        label: tuple[str, str] | None,
        *,
        partial: bool,
        chunk: int,
    ) -> Iterator[Listed]:
        """Objects from behind `after` as text, so many at a time: metadata only (`partial`), or all.

        With `label`, only those that carry it are looked at.
        """
        text = "o.metadata" if partial else "o.data"
        if label is None:
            source, key, values = "objects o", "(o.namespace, o.name)", [resource.qualified]
            where = "o.resource = ?"
        else:
            source = "labels l JOIN objects o ON o.resource = l.resource AND o.namespace = l.home AND o.name = l.object"
            key, values = "(l.home, l.object)", [resource.qualified, *label]
            where = "l.resource = ? AND l.name = ? AND l.value = ?"
        if namespace is not None:
            column = "l.home" if label else "o.namespace"
            where, values, after = f"{where} AND {column} = ?", [*values, namespace], (namespace, after[1])
        query = (
            f"SELECT o.namespace, o.name, o.labels, {text} FROM {source}"  # noqa: S608 -- no value among these
            f" WHERE {where} AND {key} > (?, ?) ORDER BY {key[1:-1]} LIMIT {chunk}"
        )
        while True:
            found = self._db.execute(query, (*values, *after)).fetchall()
            for home, name, labels, body in found:
                yield Listed(home, name, labels, body)
            if len(found) < chunk:
                return
            after = found[-1][:2]

    def selective(self, resource: Resource, labels: list[tuple[str, str]]) -> tuple[str, str] | None:
        """Of the labels asked for, one that few objects carry; else any; None if there is none."""
        query = "SELECT 1 FROM labels WHERE resource = ? AND name = ? AND value = ? LIMIT 1 OFFSET ?"
        for label in labels:
            if self._db.execute(query, (resource.qualified, *label, _SELECTIVE)).fetchone() is None:
                return label
        return labels[0] if labels else None

    def count(self, resource: Resource, namespace: str | None) -> int:
        """How many objects there are."""
        query, values = "SELECT count(*) FROM objects WHERE resource = ?", [resource.qualified]
        if namespace is not None:
            query, values = query + " AND namespace = ?", [*values, namespace]
        return int(self._db.execute(query, values).fetchone()[0])

    def contents(self, namespace: str) -> list[Row]:
        """Everything in a namespace."""
        return list(self._rows("namespace = ? AND namespace <> ''", (namespace,)))

    def everything(self) -> list[Row]:
        """Every object: for start-up only."""
        return list(self._rows("TRUE", ()))

    def mentioning(self, resource: Resource, text: str) -> Iterator[Row]:
        """Objects with that text somewhere, found without reading each: a scan, but a quick one."""
        return self._rows("resource = ? AND instr(data, ?) > 0", (resource.qualified, text))

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
                "INSERT OR REPLACE INTO objects (resource, namespace, name, uid, created, deleted, data)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    *(resource.qualified, namespace, name, metadata["uid"]),
                    *(old.created if old else now, deleted, json.dumps(data)),
                ),
            )
            self._save_owners(metadata)
            self._save_texts(resource, data)
            self._record("MODIFIED" if old else "ADDED", resource, old.data if old else None, data)
        return data

    def remove(self, row: Row) -> Json:
        """Delete for good; returns the last state."""
        uid = row.data["metadata"]["uid"]
        row.data["metadata"]["resourceVersion"] = str(self.version + 1)
        with self.transaction():
            self._db.execute("DELETE FROM objects WHERE uid = ?", (uid,))
            self._db.execute("DELETE FROM owners WHERE uid = ?", (uid,))
            self._db.execute("DELETE FROM labels WHERE uid = ?", (uid,))
            self._record("DELETED", row.resource, row.data, row.data)
        return row.data

    def _save_owners(self, metadata: Json) -> None:
        self._db.execute("DELETE FROM owners WHERE uid = ?", (metadata["uid"],))
        owners = [(owner["uid"], metadata["uid"]) for owner in metadata.get("ownerReferences") or ()]
        self._db.executemany("INSERT OR IGNORE INTO owners VALUES (?, ?)", owners)

    def _save_texts(self, resource: Resource, data: Json) -> None:
        """What lists are made of (PartialObjectMetadata, meta.k8s.io/v1)."""
        metadata = data["metadata"]
        labels, uid = metadata.get("labels") or {}, metadata["uid"]
        partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
        self._db.execute(
            "UPDATE objects SET labels = ?, metadata = ? WHERE uid = ?",
            (json.dumps(labels), json.dumps(partial), uid),
        )
        where = (metadata.get("namespace", ""), metadata["name"], uid)
        self._db.execute("DELETE FROM labels WHERE uid = ?", (uid,))
        self._db.executemany(
            "INSERT OR REPLACE INTO labels VALUES (?, ?, ?, ?, ?, ?)",
            [(resource.qualified, name, str(value), *where) for name, value in labels.items()],
        )

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
