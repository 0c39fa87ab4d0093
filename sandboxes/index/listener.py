"""Waiting for word of the database: LISTEN, on a connection of its own.

It only shortens a wait. A notification can be lost with its connection, so whoever waits looks
for themselves when the wait is over, whatever ended it.
"""

import asyncio
import logging
from contextlib import suppress
from time import monotonic
from typing import Final

import psycopg

logger = logging.getLogger(__name__)

CHANNEL: Final = "petridish_index"


class Listener:
    def __init__(self, url: str) -> None:
        self._url = url
        self._connecting: asyncio.Task[psycopg.AsyncConnection] | None = None

    async def wait(self, seconds: float) -> None:
        """Until something is told, at most `seconds`."""
        end = monotonic() + seconds
        try:
            connection = await self._connected()
            async for _ in connection.notifies(timeout=max(end - monotonic(), 0), stop_after=1):
                pass
        except (psycopg.Error, OSError) as error:
            logger.warning("not listening to the database: %s", type(error).__name__)
            await self.close()
            await asyncio.sleep(max(end - monotonic(), 0))

    async def close(self) -> None:
        """Whatever it is at: a connection that is cut off while it is made would stay open at the server."""
        task, self._connecting = self._connecting, None
        if task is None:
            return
        with suppress(psycopg.Error, OSError):
            await (await task).close()

    async def _connected(self) -> psycopg.AsyncConnection:
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect())
        return await asyncio.shield(self._connecting)

    async def _connect(self) -> psycopg.AsyncConnection:
        connection = await psycopg.AsyncConnection.connect(self._url, autocommit=True, connect_timeout=3)
        try:
            await connection.execute(f"LISTEN {CHANNEL}".encode())
        except psycopg.Error:
            await connection.close()
            raise
        return connection
