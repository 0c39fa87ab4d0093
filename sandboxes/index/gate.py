"""The one way every request goes: who asks → what is it, may it be given → write it down → answer.

Pages, the project list, files, metadata, HEAD and ranges all pass `Gate.serve`,
so no rule can hold for one and be forgotten for another. An answer is prepared
before it is recorded (what it is must be known to be written down) and sent
after; nothing of it leaves in between. What is refused is recorded too.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from aiohttp import web

from sandboxes.index.client import client_of
from sandboxes.index.errors import UnauthenticatedError
from sandboxes.index.identity import Identities, Visitor
from sandboxes.index.recorder import Ask, Received, Recorder


class Answer(Protocol):
    """Ready to be sent, but for being recorded."""

    @property
    def received(self) -> Received | None:
        """The file that the sandbox will have; None for everything else."""

    async def send(self, request: web.Request) -> web.StreamResponse: ...


class Gate:
    def __init__(self, identities: Identities, recorder: Recorder) -> None:
        self._identities = identities
        self._recorder = recorder

    async def serve(
        self, request: web.Request, ask: Ask, prepare: Callable[[Visitor], Awaitable[Answer]]
    ) -> web.StreamResponse:
        visitor = await self._identities.of(request.headers.get("Authorization"))
        try:
            answer = await prepare(visitor)
        except Exception:  # foreseen or not: what was asked for is on record, and the error goes on its way
            await self._record(request, visitor, ask, None)
            raise
        await self._record(request, visitor, ask, answer.received)
        return await answer.send(request)

    async def _record(
        self, request: web.Request, visitor: Visitor, ask: Ask, received: Received | None
    ) -> None:
        client = client_of(request.headers.get("User-Agent"))
        try:
            await self._recorder.record(visitor, client, ask, received)
        except UnauthenticatedError:
            self._identities.forget(visitor)
            raise
