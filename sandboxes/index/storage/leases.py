"""Which process may fetch a file: one of all that share a storage, by PostgreSQL's advisory locks.

All locks of a process are on one connection of its own. It ends when the process dies, however it
dies, and PostgreSQL frees them at once; of a host that vanished, after some ten seconds. A connection
that breaks loses them though the process lives: they are taken again with the next one, and between
the two the lock on the draft still keeps a second writer off.
"""

import asyncio
import hashlib
import logging

import psycopg

from sandboxes.index.errors import UnavailableError

logger = logging.getLogger(__name__)

_CONNECT = 3  # seconds
_ANSWER = 5.0  # seconds
# Without these PostgreSQL would notice only after hours that a host is gone.
_SETTINGS = "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3"


class Lease:
    """Held until `drop`, or until the process ends."""

    def __init__(self, leases: "Leases", name: str) -> None:
        self._leases = leases
        self._name = name
        self._held = True

    async def drop(self) -> None:
        """May be called again. Never raises: a lock that could not be given back ends with its connection."""
        if self._held:
            self._held = False
            await self._leases.give_back(self._name)


class Leases:
    def __init__(self, url: str) -> None:
        self._url = url
        self._scope = ""
        self._held: set[str] = set()
        self._turn = asyncio.Lock()
        self._connection: psycopg.AsyncConnection | None = None

    def open(self, scope: str) -> None:
        """`scope`: the storage's identity. Processes with other storages do not wait for each other."""
        self._scope = scope

    async def take(self, name: str) -> Lease | None:
        """None: it is held, here or elsewhere. Raises `UnavailableError`."""
        async with self._turn:
            if name in self._held or not await self._ask("SELECT pg_try_advisory_lock(%s)", name):
                return None
            self._held.add(name)
            return Lease(self, name)

    async def give_back(self, name: str) -> None:
        async with self._turn:
            self._held.discard(name)
            try:
                if self._connection is not None:
                    await self._ask("SELECT pg_advisory_unlock(%s)", name)
            except UnavailableError:
                logger.warning("a lease was not given back")

    async def close(self) -> None:
        async with self._turn:
            self._held.clear()
            await self._disconnect()

    async def _ask(self, statement: str, name: str) -> bool:
        try:
            async with asyncio.timeout(_ANSWER):
                connection = await self._connected()
                cursor = await connection.execute(statement.encode(), [self._number(name)])
                row = await cursor.fetchone()
                return bool(row and row[0])
        except (psycopg.Error, TimeoutError) as error:
            await self._disconnect()
            logger.error("database does not answer for leases: %s: %s", type(error).__name__, error)
            raise UnavailableError("The index's database does not answer; try again.") from error
        except asyncio.CancelledError:
            # What it was asked may have been done: no lock must stay that nobody knows of.
            await self._disconnect()
            raise

    async def _connected(self) -> psycopg.AsyncConnection:
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(
                self._url, autocommit=True, connect_timeout=_CONNECT, options=_SETTINGS
            )
            for name in self._held:
                await self._connection.execute("SELECT pg_try_advisory_lock(%s)", [self._number(name)])
        return self._connection

    async def _disconnect(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()

    def _number(self, name: str) -> int:
        digest = hashlib.sha256(f"petridish index {self._scope} {name}".encode()).digest()
        return int.from_bytes(digest[:8], signed=True)
