"""npm's URLs. Packuments and tarballs go through the gate; the rest of a registry is not here."""

from aiohttp import web

from sandboxes.index.config import NPM
from sandboxes.index.errors import UnknownError
from sandboxes.index.gate import Answer, Gate
from sandboxes.index.identity import Visitor
from sandboxes.index.npm.judge import NpmJudge
from sandboxes.index.npm.names import Asked, asked
from sandboxes.index.npm.packument_answer import PackumentAnswers
from sandboxes.index.npm.tarballs import Tarballs
from sandboxes.index.policy.facts import Ecosystem
from sandboxes.index.recorder import Ask, Kind


class NpmRoutes:
    def __init__(self, gate: Gate, answers: PackumentAnswers, tarballs: Tarballs, judge: NpmJudge) -> None:
        self._gate = gate
        self._answers = answers
        self._tarballs = tarballs
        self._judge = judge

    def table(self) -> list[web.RouteDef]:
        return [web.route("*", "/npm/{path:.*}", self.serve)]

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """`@scope/name` comes with its slash escaped or not: the path is decoded here."""
        wanted = asked(request.match_info["path"])
        if wanted is None or request.method not in ("GET", "HEAD"):
            raise UnknownError(
                "This registry has packages to install and nothing else: no audits, searches or logins."
            )
        kind = Kind.FILE if wanted.filename else Kind.PAGE
        ask = Ask(kind, wanted.name, wanted.filename, Ecosystem.NPM)
        return await self._gate.serve(request, ask, lambda visitor: self._prepare(request, wanted, visitor))

    async def _prepare(self, request: web.Request, wanted: Asked, visitor: Visitor) -> Answer:
        await self._judge.check_name(visitor.subject, wanted.name, NPM)
        if wanted.filename:
            return await self._tarballs.answer(request, wanted, visitor.subject)
        return await self._answers.answer(request, wanted.name, visitor.subject)
