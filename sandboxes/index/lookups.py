"""Sandboxes by name, for credentials that nobody knows yet: one statement for all who wait at that moment.

Anybody can ask with a name and a password, so this is what strangers may take of the database: one connection,
and only so many names at a time. Who comes beyond that is told to come back, and the database hears nothing of it.
"""

import asyncio
from collections.abc import Mapping
from time import monotonic
from typing import Any, Final

from sandboxes.index.database import Database
from sandboxes.index.errors import UnavailableError
from sandboxes.index.lru import Lru

_MOST_AT_ONCE: Final = 500  # names of one statement
_MOST_WAITING: Final = 1000  # names
_REMEMBERED: Final = 4096  # names that no sandbox has

# A lease that is over lets nobody in, even while no worker is there to end it.
_FIND: Final = """
SELECT name, id, phase, index_token_digest, owner_id, department, profile FROM lifecycle_sandbox
WHERE name = ANY(%(names)s) AND expires_at > now()"""

type Row = Mapping[str, Any]


class Lookups:
    def __init__(self, database: Database, kept: float) -> None:
        """`kept`: seconds for which it is remembered that no sandbox has a name."""
        self._database = database
        self._for = kept
        self._nobody: Lru[str, float] = Lru(_REMEMBERED)  # until when, on `monotonic`'s clock
        self._waiting: dict[str, asyncio.Future[Row | None]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def of(self, name: str, *, known: bool) -> Row | None:
        """`known`: a sandbox of this name was let in before, so it is no stranger, and waits with any number of them.

        Raises `UnavailableError`.
        """
        until = self._nobody.get(name)
        if until is not None and monotonic() < until:
            return None
        found = self._waiting.get(name)
        if found is None:
            if len(self._waiting) >= _MOST_WAITING and not known:
                raise UnavailableError("The index is asked by more than it can look up; try again.")
            found = self._waiting[name] = asyncio.get_running_loop().create_future()
            if self._asking is None:
                self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(found)

    async def _ask(self) -> None:
        """Until nobody waits. Who comes while a statement is under way is in the next one: it may see more."""
        group: dict[str, asyncio.Future[Row | None]] = {}
        try:
            while self._waiting:
                group = {name: self._waiting.pop(name) for name in list(self._waiting)[:_MOST_AT_ONCE]}
                await self._find(group)
        finally:
            self._asking = None
            for future in (*group.values(), *self._waiting.values()):  # told to end early
                _settle(future, UnavailableError("The index is stopping; try again."))
            self._waiting.clear()

    async def _find(self, group: Mapping[str, asyncio.Future[Row | None]]) -> None:
        until = monotonic() + self._for
        try:
            rows = await self._database.rows(_FIND, {"names": list(group)})
        except UnavailableError as error:
            for future in group.values():
                _settle(future, error)
            return
        found = {row["name"]: row for row in rows}
        for name, future in group.items():
            if name not in found:
                self._nobody.put(name, until)
            _settle(future, found.get(name))


def _settle(future: asyncio.Future[Row | None], outcome: Row | UnavailableError | None) -> None:
    if future.done():
        return
    if isinstance(outcome, UnavailableError):
        future.set_exception(outcome)
        future.exception()  # whoever waited may have gone away
    else:
        future.set_result(outcome)
