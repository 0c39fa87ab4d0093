"""Watches: the history since a version, then every change as it is committed.

Events follow the selector, as on a real server: an object that comes to match is
ADDED to this watch, one that stops matching is DELETED from it.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sandboxes.cluster.simulator.errors import expired
from sandboxes.cluster.simulator.resources import Resource
from sandboxes.cluster.simulator.selectors import Selector
from sandboxes.cluster.simulator.store import Change, Store

type Json = dict[str, Any]

_QUEUE_SIZE = 5_000
_BOOKMARK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a watch is about. `version` "" or "0" means: first the present objects."""

    resource: Resource
    namespace: str | None
    labels: Selector
    fields: Callable[[Json], bool]
    version: str
    seconds: float
    bookmarks: bool
    partial: bool = False

    def line(self, kind: str, item: Json) -> bytes:
        """One event, with as much of the object as was asked for."""
        return _line(kind, metadata_only(item) if self.partial else item)


class Watches:
    """All open watches; closing them lets the server stop at once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._queues: set[asyncio.Queue[Change | None]] = set()
        store.listen(self._changed)

    def close(self) -> None:
        """End every watch."""
        for queue in self._queues:
            _offer(queue, None)

    async def stream(self, wanted: Wanted) -> AsyncIterator[bytes]:
        """One watch, as JSON lines."""
        queue: asyncio.Queue[Change | None] = asyncio.Queue(_QUEUE_SIZE)
        self._queues.add(queue)
        try:
            if wanted.version not in ("", "0") and int(wanted.version) < self._store.oldest:
                status = expired(
                    f"too old resource version: {wanted.version} ({self._store.oldest})"
                ).status()
                yield _line("ERROR", status)
                return
            for event in self._first(wanted):
                yield event
            async for event in self._rest(wanted, queue):
                yield event
        finally:
            self._queues.discard(queue)

    def _first(self, wanted: Wanted) -> Iterator[bytes]:
        if wanted.version in ("", "0"):
            for row in self._store.rows(wanted.resource, wanted.namespace):
                if wanted.labels(row.data["metadata"].get("labels") or {}) and wanted.fields(row.data):
                    yield wanted.line("ADDED", row.data)
            return
        for change in self._store.changes(wanted.resource, wanted.namespace, int(wanted.version)):
            yield from _event(wanted, change)

    async def _rest(self, wanted: Wanted, queue: asyncio.Queue[Change | None]) -> AsyncIterator[bytes]:
        end = asyncio.get_running_loop().time() + wanted.seconds
        while (left := end - asyncio.get_running_loop().time()) > 0:
            try:
                change = await asyncio.wait_for(queue.get(), min(left, _BOOKMARK_SECONDS))
            except TimeoutError:
                if wanted.bookmarks:
                    yield self._bookmark(wanted.resource)
                continue
            if change is None:
                return
            for event in _event(wanted, change):
                yield event

    def _bookmark(self, resource: Resource) -> bytes:
        metadata = {"resourceVersion": str(self._store.version)}
        item = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
        return _line("BOOKMARK", item)

    def _changed(self, change: Change) -> None:
        for queue in self._queues:
            _offer(queue, change)


def _offer(queue: asyncio.Queue[Change | None], change: Change | None) -> None:
    """A watcher that does not read loses its watch instead of our memory."""
    if queue.full():
        while not queue.empty():
            queue.get_nowait()
        change = None
    queue.put_nowait(change)


def _event(wanted: Wanted, change: Change) -> Iterator[bytes]:
    if change.resource is not wanted.resource or wanted.namespace not in (None, change.namespace):
        return
    item = change.data
    before = change.old_labels is not None and wanted.labels(change.old_labels)
    now = wanted.labels(item["metadata"].get("labels") or {}) and change.type != "DELETED"
    if not wanted.fields(item) or not (before or now):
        return
    yield wanted.line("MODIFIED" if before and now else "ADDED" if now else "DELETED", item)


def metadata_only(item: Json) -> Json:
    """An object as a PartialObjectMetadata (meta.k8s.io/v1)."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item["metadata"]}


def _line(kind: str, item: Json) -> bytes:
    return json.dumps({"type": kind, "object": item}, separators=(",", ":")).encode() + b"\n"
