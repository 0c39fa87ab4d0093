"""Serving the application on a socket, with connections that know of `quick.py`."""

import asyncio
import socket
from typing import Final

from aiohttp import web

from sandboxes.index.app import QUICK
from sandboxes.index.listening import BACKLOG

_LINGER: Final = 3.0  # seconds in which clients may learn that their connection is about to close
_LOOKS: Final = 60


class Serving:
    """One process's share of a listening socket: from `start` until `stop`, which loses no request.

    A connection that is merely closed may have a request on its way, which its client then has to send
    again. So at first nothing is accepted any more and each answer says that it is the connection's last;
    what is still open after `_LINGER` seconds is idle, and closed.
    """

    def __init__(self, app: web.Application, *, grace: float) -> None:
        """`grace`: seconds that answers under way may still take."""
        self._app = app
        self._ending = False
        app.on_response_prepare.append(self._say_the_last)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=grace)
        self._listening: asyncio.Server | None = None

    async def start(self, listening: socket.socket) -> None:
        await self._runner.setup()
        server = self._server()
        factory = self._app[QUICK].protocol(server, loop=asyncio.get_running_loop(), access_log=None)
        self._listening = await asyncio.get_running_loop().create_server(
            factory, sock=listening, backlog=BACKLOG
        )

    async def stop(self) -> None:
        """Accepts nothing more; ends what is under way, then the application."""
        if self._listening is not None:
            self._listening.close()
            self._ending = True
            self._app[QUICK].close()
            for _ in range(_LOOKS):
                if not self._server().connections:
                    break
                await asyncio.sleep(_LINGER / _LOOKS)
        await self._runner.cleanup()

    async def _say_the_last(self, request: web.Request, response: web.StreamResponse) -> None:
        if self._ending:
            response.force_close()
            response.headers["Connection"] = "close"  # aiohttp writes its own before it asks here

    def _server(self) -> web.Server:
        if self._runner.server is None:
            raise RuntimeError("the application was not set up")
        return self._runner.server
