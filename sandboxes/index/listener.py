"""Waiting for word of the database: LISTEN, on a connection of its own.

It only shortens a wait. A notification can be lost with its connection, so whoever waits looks
for themselves when the wait is over, whatever ended it.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import monotonic
from typing import Final

import psycopg

logger = logging.getLogger(__name__)

CHANNEL: Final = "petridish_index"


type Hear = Callable[[str], None]


class Listener:
    def __init__(self, url: str, hear: Mapping[str, Hear] | None = None) -> None:
        """`hear`: further channels, and what is done with what each tells, while somebody waits here."""
        self._url = url
        self._hear = dict(hear or {})
        self._connecting: asyncio.Task[psycopg.AsyncConnection] | None = None

    async def wait(self, seconds: float) -> None:
        """Until something is told, at most `seconds`."""
        end = monotonic() + seconds
        try:
            connection = await self._connected()
            async for told in connection.notifies(timeout=max(end - monotonic(), 0), stop_after=1):
                if told.channel in self._hear:
                    self._hear[told.channel](told.payload)
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
            for channel in (*self._hear, CHANNEL):
                await connection.execute(f"LISTEN {channel}".encode())
        except psycopg.Error:
            await connection.close()
            raise
        return connection
