"""Serving the application on a socket: accepts connections as long as there is room, until it is stopped."""

import asyncio
import logging
import socket
from typing import Final

from aiohttp import web

from sandboxes.index.app import DOOR, QUICK
from sandboxes.index.connection import Connection
from sandboxes.index.connections import Connections

logger = logging.getLogger(__name__)

_LINGER: Final = 3.0  # seconds in which clients may learn that their connection is about to close
_LOOKS: Final = 60
_PAUSE: Final = 1.0  # seconds until it is tried again when none could be accepted


class Serving:
    """One process's share of a listening socket: from `start` until `stop`, which loses no request.

    A connection that is merely closed may have a request on its way, which its client then has to send
    again. So at first nothing is accepted any more and each answer says that it is the connection's last;
    what is still open after `_LINGER` seconds is idle, and closed.
    """

    def __init__(self, app: web.Application, *, grace: float, connections: Connections | None = None) -> None:
        """`grace`: seconds that answers under way may still take."""
        self._app = app
        self._connections = connections or Connections()
        self._ending = False
        app.on_response_prepare.append(self._say_the_last)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=grace)
        self._listening: socket.socket | None = None
        self._opening: set[asyncio.Task[None]] = set()
        self._accepting = False

    async def start(self, listening: socket.socket) -> None:
        await self._runner.setup()
        listening.setblocking(False)
        self._listening = listening
        self._connections.start(self._go_on)
        self._go_on()

    async def stop(self) -> None:
        """Accepts nothing more; ends what is under way, then the application."""
        if self._listening is not None:
            self._pause()
            self._listening.close()
            self._listening = None
            self._ending = True
            self._app[QUICK].close()
            for _ in range(_LOOKS):
                if not self._connections.any:
                    break
                await asyncio.sleep(_LINGER / _LOOKS)
            await self._connections.stop()
        await self._runner.cleanup()

    def _go_on(self) -> None:
        if self._listening is not None and not self._accepting:
            self._accepting = True
            asyncio.get_running_loop().add_reader(self._listening.fileno(), self._accept, self._listening)

    def _pause(self) -> None:
        if self._listening is not None and self._accepting:
            self._accepting = False
            asyncio.get_running_loop().remove_reader(self._listening.fileno())

    def _accept(self, listening: socket.socket) -> None:
        """One at a time: the next is for whichever process comes first, so each has its share of many.

        Synchronous up to the task, so none is accepted and then forgotten.
        """
        if not self._connections.take_room():
            self._pause()
            return
        try:
            client, (address, *_) = listening.accept()
        except OSError as error:
            self._connections.given_up()
            if not isinstance(error, BlockingIOError | InterruptedError | ConnectionAbortedError):
                logger.error("no connection can be accepted: %s", error)
                self._pause()
                asyncio.get_running_loop().call_later(_PAUSE, self._go_on)
            return
        if not self._connections.admits(address):
            client.close()
            return
        task = asyncio.get_running_loop().create_task(self._open(client, address))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, client: socket.socket, address: str) -> None:
        loop = asyncio.get_running_loop()
        server = self._runner.server
        try:
            client.setblocking(False)
            if server is None:
                raise RuntimeError("the application was not set up")
            connection = Connection(
                self._app[QUICK],
                self._app[DOOR],
                self._connections,
                server,
                address,
                loop=loop,
                access_log=None,
            )
            await loop.connect_accepted_socket(lambda: connection, client)
        except OSError as error:
            self._connections.given_up(address)
            client.close()
            logger.info("a connection was lost at once: %s", error)

    async def _say_the_last(self, request: web.Request, response: web.StreamResponse) -> None:
        if self._ending:
            response.force_close()
            response.headers["Connection"] = "close"  # aiohttp writes its own before it asks here
