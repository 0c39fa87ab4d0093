"""One queue for all controllers: level-triggered, keyed, with delays.

A change puts the object's key, its owners' keys and what else depends on it into
the queue; handling a key looks at the present state only, and may ask to be called
again later. Nothing is kept but the queue itself: at start-up every object is put
into it, and timers follow from stored times, so a killed server goes on where it
stopped.
"""

import asyncio
import heapq
import logging
import time
from collections.abc import Callable

from sandboxes.cluster.simulator.errors import ApiError
from sandboxes.cluster.simulator.objects import Objects
from sandboxes.cluster.simulator.resources import BY_KIND, NAMESPACES, PODS, QUOTAS, Resource
from sandboxes.cluster.simulator.store import Change, Row

type Key = tuple[Resource, str, str]
type Handler = Callable[[Row], float | None]

_RETRY_SECONDS = 0.5
_COUNTED = ("pods", "services", "persistentvolumeclaims", "resourcequotas")
log = logging.getLogger(__name__)


class Loop:
    """Runs handlers; each returns the seconds after which to look again, or None."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._handlers: dict[Resource, list[Handler]] = {}
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._count = 0
        self._wake = asyncio.Event()
        objects.store.listen(self._changed)

    def handle(self, handler: Handler, *resources: Resource) -> None:
        """Register a handler. Handlers of one resource run in the order of registration."""
        for resource in resources:
            self._handlers.setdefault(resource, []).append(handler)

    def enqueue(self, resource: Resource, namespace: str, name: str, delay: float = 0.0) -> None:
        """Look at that object after `delay` seconds; an earlier date wins."""
        key, due = (resource, namespace, name), time.monotonic() + delay
        if self._due.get(key, due + 1) <= due:
            return
        self._due[key] = due
        self._count += 1
        heapq.heappush(self._heap, (due, self._count, key))
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        for row in self._objects.store.everything():
            self.enqueue(row.resource, row.namespace, row.name)
        while True:
            delay = self._work()
            if delay == 0.0:
                await asyncio.sleep(0)  # requests have their turn
                continue
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), delay)
            except TimeoutError:
                continue

    def _work(self) -> float | None:
        """Handle one key that is due; the seconds until the next is."""
        if not self._heap:
            return None
        due, _, key = self._heap[0]
        if due > time.monotonic():
            return due - time.monotonic()
        heapq.heappop(self._heap)
        if self._due.get(key) == due:
            del self._due[key]
            self._reconcile(key)
        return 0.0

    def _reconcile(self, key: Key) -> None:
        for handler in self._handlers.get(key[0], ()):
            row = self._objects.store.get(*key)
            if row is None:
                return
            try:
                again = handler(row)
            except ApiError as error:
                log.info("%s %s/%s: %s", key[0].kind, key[1], key[2], error.message)
                again = _RETRY_SECONDS
            if again is not None:
                self.enqueue(*key, again)

    def _changed(self, change: Change) -> None:
        """Whoever may have something to do because of a change."""
        metadata = change.data["metadata"]
        if change.type != "DELETED":
            self.enqueue(change.resource, change.namespace, metadata["name"])
        else:
            for child in self._objects.store.dependents(metadata["uid"]):
                self.enqueue(child.resource, child.namespace, child.name)
        for owner in metadata.get("ownerReferences") or ():
            resource = BY_KIND.get((owner["apiVersion"], owner["kind"]))
            if resource is not None:
                self.enqueue(resource, change.namespace, owner["name"])
        if change.resource.plural in _COUNTED and change.resource is not QUOTAS:
            for quota in self._objects.store.rows(QUOTAS, change.namespace):
                self.enqueue(QUOTAS, change.namespace, quota.name)
        if change.type == "DELETED" and change.namespace:
            self.enqueue(NAMESPACES, "", change.namespace)
        if change.resource.plural in ("secrets", "configmaps") and change.type == "ADDED":
            for pod in self._objects.store.rows(PODS, change.namespace):
                self.enqueue(PODS, change.namespace, pod.name)
