"""The one border to PostgreSQL: plain SQL over a pool; whatever goes wrong there is `UnavailableError`.

Connections are in autocommit: each statement is a transaction, committed when
`execute` returns. What must happen together is written as one statement.
"""

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests

from sandboxes.index.errors import UnavailableError

_WAIT = 3.0  # seconds for a free connection, and again for connecting; then the client is told to come back
_CONNECTIONS = 8
_WAITING = 500  # requests that may queue for a connection

type Rows = list[DictRow]
type _Pool = AsyncConnectionPool[psycopg.AsyncConnection[DictRow]]


class Database:
    """A pool that opens without a server and recovers by itself when it comes back."""

    def __init__(self, url: str) -> None:
        self._pool: _Pool = AsyncConnectionPool(
            url,
            connection_class=psycopg.AsyncConnection[DictRow],
            kwargs={"autocommit": True, "row_factory": dict_row, "connect_timeout": 3},
            min_size=1,
            max_size=_CONNECTIONS,
            max_waiting=_WAITING,
            timeout=_WAIT,
            configure=_configure,
            open=False,
        )

    async def open(self) -> None:
        """Starts connecting, without waiting: a process whose database is down lives, and says so."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        await self._pool.close(timeout=2)

    async def rows(self, statement: str, values: Mapping[str, Any]) -> Rows:
        """Runs one statement in a transaction of its own; raises `UnavailableError`."""
        try:
            async with self._pool.connection() as connection:
                cursor = await connection.execute(statement.encode(), values)
                return await cursor.fetchall() if cursor.description else []
        except (PoolTimeout, TooManyRequests) as error:
            raise UnavailableError("The index's database cannot be reached; try again.") from error
        except psycopg.OperationalError as error:
            await self._pool.check()  # a server that restarted left dead connections: drop them all, not one a request
            raise UnavailableError("The index's database does not answer; try again.") from error
        except psycopg.Error as error:
            raise UnavailableError("The index's database refuses to write or read; try again.") from error

    async def row(self, statement: str, values: Mapping[str, Any]) -> DictRow | None:
        found = await self.rows(statement, values)
        return found[0] if found else None


async def _configure(connection: psycopg.AsyncConnection[DictRow]) -> None:
    await connection.execute("SET statement_timeout = '10s'")
