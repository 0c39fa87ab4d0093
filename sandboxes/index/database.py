"""The one border to PostgreSQL: plain SQL over a pool; whatever goes wrong there is `UnavailableError`.

Connections are in autocommit: each statement is a transaction, committed when
`execute` returns. What must happen together is written as one statement.
"""

import logging
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests

from sandboxes.index.errors import UnavailableError

logger = logging.getLogger(__name__)

_WAIT = 3.0  # seconds for a free connection, and again for connecting; then the client is told to come back
_CONNECTIONS = 8
_WAITING = 500  # requests that may queue for a connection

type Rows = list[DictRow]
type _Pool = AsyncConnectionPool[psycopg.AsyncConnection[DictRow]]


class Database:
    """A pool that opens without a server and recovers by itself when it comes back."""

    def __init__(self, url: str, connections: int = _CONNECTIONS) -> None:
        self._url = url
        self._apart: list[Database] = []
        self._pool: _Pool = AsyncConnectionPool(
            url,
            connection_class=psycopg.AsyncConnection[DictRow],
            kwargs={"autocommit": True, "row_factory": dict_row, "connect_timeout": 3},
            min_size=1,
            max_size=connections,
            max_waiting=_WAITING,
            timeout=_WAIT,
            configure=_configure,
            open=False,
        )

    async def open(self) -> None:
        """Starts connecting, without waiting: a process whose database is down lives, and says so."""
        await self._pool.open(wait=False)
        for each in self._apart:
            await each.open()

    def apart(self) -> "Database":
        """One more connection, for what must go on however many wait for the others; opened and closed with them."""
        made = Database(self._url, connections=1)
        self._apart.append(made)
        return made

    async def close(self) -> None:
        for each in self._apart:
            await each.close()
        await self._pool.close(timeout=2)

    async def rows(self, statement: str, values: Mapping[str, Any]) -> Rows:
        """Runs one statement in a transaction of its own; raises `UnavailableError`."""
        try:
            async with self._pool.connection() as connection:
                cursor = await connection.execute(statement.encode(), values)
                return await cursor.fetchall() if cursor.description else []
        except (PoolTimeout, TooManyRequests) as error:
            raise _unavailable("cannot be reached", error) from error
        except psycopg.OperationalError as error:
            await self._pool.check()  # a server that restarted left dead connections: drop them all at once
            raise _unavailable("does not answer", error) from error
        except psycopg.Error as error:
            raise _unavailable("refuses to read or write", error) from error

    async def row(self, statement: str, values: Mapping[str, Any]) -> DictRow | None:
        found = await self.rows(statement, values)
        return found[0] if found else None


def _unavailable(how: str, error: Exception) -> UnavailableError:
    """The details are for the log: they may name hosts and values."""
    logger.error("database %s: %s: %s", how, type(error).__name__, error)
    return UnavailableError(f"The index's database {how}; try again.")


async def _configure(connection: psycopg.AsyncConnection[DictRow]) -> None:
    await connection.execute("SET statement_timeout = '10s'")
    # "Recorded before the first byte" leans on it: what is committed must still be there after a crash.
    await connection.execute("SET synchronous_commit = on")
