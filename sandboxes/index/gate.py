"""The one way every request goes: who asks → what is it, may it be given → write it down → answer.

Pages, the project list, files, metadata, HEAD and ranges all pass `Gate.serve`,
so no rule can hold for one and be forgotten for another. An answer is prepared
before it is recorded (what it is must be known to be written down) and sent
after; nothing of it leaves in between. What is refused is recorded too. A page
asked for again within moments is answered by `quick.py`, with what passed here.
Who asks for more at once than a sandbox's share is told to come back, before anything is looked at.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from time import monotonic
from typing import Protocol

from aiohttp import web

from sandboxes.index.book import Edition
from sandboxes.index.client import client_of
from sandboxes.index.errors import NotGivenError, UnauthenticatedError
from sandboxes.index.identity import Identities, Visitor
from sandboxes.index.page_answer import PageAnswer
from sandboxes.index.quick import Basis, Quick
from sandboxes.index.recorder import Ask, Outcome, Received, Recorder
from sandboxes.index.shares import Shares
from sandboxes.index.tally import Repeated
from sandboxes.index.withheld import Withheld


class Answer(Protocol):
    """Ready to be sent, but for being recorded."""

    @property
    def received(self) -> Received | None:
        """The file that the sandbox will have; None for everything else."""

    @property
    def withheld(self) -> Withheld | None:
        """What policy keeps back from a page; None for everything else."""

    async def send(self, request: web.Request) -> web.StreamResponse: ...


class Gate:
    def __init__(self, identities: Identities, recorder: Recorder, quick: Quick | None = None) -> None:
        self._identities = identities
        self._recorder = recorder
        self._quick = quick
        self._shares = Shares()

    async def serve(
        self, request: web.Request, ask: Ask, prepare: Callable[[Visitor], Awaitable[Answer]]
    ) -> web.StreamResponse:
        edition = self._quick.edition if self._quick else None
        visitor = await self._identities.of(request.headers.get("Authorization"))
        async with self._shares.place(visitor.sandbox):
            return await self._served(request, ask, prepare, visitor, edition)

    async def _served(
        self,
        request: web.Request,
        ask: Ask,
        prepare: Callable[[Visitor], Awaitable[Answer]],
        visitor: Visitor,
        edition: Edition | None,
    ) -> web.StreamResponse:
        try:
            answer = await prepare(visitor)
        except NotGivenError as error:
            await self.record(request, visitor, ask, Outcome(refused=error.refusal.rule))
            raise
        except Exception:  # foreseen or not: what was asked for is on record, and the error goes on its way
            await self.record(request, visitor, ask, Outcome())
            raise
        outcome = Outcome(received=answer.received, withheld=answer.withheld)
        await self.record(request, visitor, ask, outcome)
        response = await answer.send(request)
        if self._quick and isinstance(answer, PageAnswer) and not answer.stale:
            basis = Basis(edition, self._until(visitor, answer))
            page = Repeated(
                visitor.sandbox, ask.project, client_of(request.headers.get("User-Agent")), answer.withheld
            )
            self._quick.remember(request, response, page, basis)
        return response

    def _until(self, visitor: Visitor, answer: PageAnswer) -> float:
        """How long the same answer may be given to the same visitor."""
        known = self._identities.known_until(visitor)
        if answer.settled_until is None:
            return known
        return min(known, monotonic() + (answer.settled_until - datetime.now(UTC)).total_seconds())

    async def record(self, request: web.Request, visitor: Visitor, ask: Ask, outcome: Outcome) -> None:
        client = client_of(request.headers.get("User-Agent"))
        try:
            await self._recorder.record(visitor, client, ask, outcome)
        except UnauthenticatedError:
            self._identities.forget(visitor)
            raise
