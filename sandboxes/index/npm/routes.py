"""npm's URLs. Packuments, manifests, tarballs and audits go through the gate; nothing else is here."""

from functools import partial

from aiohttp import web

from sandboxes.index import own_names
from sandboxes.index.errors import UnknownError
from sandboxes.index.gate import Answer, Gate
from sandboxes.index.identity import Visitor
from sandboxes.index.npm.audits import Audits
from sandboxes.index.npm.judge import NpmJudge
from sandboxes.index.npm.names import Asked, asked
from sandboxes.index.npm.packument_answer import PackumentAnswers
from sandboxes.index.npm.tarballs import Client, Tarballs
from sandboxes.index.npm.upstream import Registries
from sandboxes.index.policy.facts import Ecosystem
from sandboxes.index.policy.waivers import Subject
from sandboxes.index.recorder import Ask, Kind
from sandboxes.index.upstreams import Sources

_AUDIT = "-/npm/v1/security/advisories/bulk"


class NpmRoutes:
    def __init__(
        self,
        gate: Gate,
        registries: Registries,
        judge: NpmJudge,
        answers: PackumentAnswers,
        tarballs: Tarballs,
        audits: Audits,
    ) -> None:
        self._gate = gate
        self._registries = registries
        self._judge = judge
        self._answers = answers
        self._tarballs = tarballs
        self._audits = audits

    def table(self) -> list[web.RouteDef]:
        return [web.post(f"/npm/{_AUDIT}", self.audit), web.route("*", "/npm/{path:.*}", self.serve)]

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """`@scope/name` comes with its slash escaped or not: the path is decoded here."""
        wanted = asked(request.match_info["path"])
        if wanted is None or request.method not in ("GET", "HEAD"):
            raise UnknownError(
                "This registry has packages to install and audits: no searches, logins or publishing."
            )
        kind = Kind.FILE if wanted.filename else Kind.PAGE
        ask = Ask(kind, wanted.name, wanted.filename, Ecosystem.NPM)
        return await self._gate.serve(
            request, ask, lambda visitor: self._prepare(request, ask, wanted, visitor)
        )

    async def audit(self, request: web.Request) -> web.StreamResponse:
        ask = Ask(Kind.METADATA, filename="advisories", ecosystem=Ecosystem.NPM)
        return await self._gate.serve(request, ask, lambda _: self._audits.answer(request))

    async def _prepare(self, request: web.Request, ask: Ask, wanted: Asked, visitor: Visitor) -> Answer:
        only = await self._sources(visitor.subject, wanted)
        if wanted.filename:
            note = partial(self._gate.record, request, visitor, ask)
            return await self._tarballs.answer(Client(request, visitor.subject, note), wanted, only)
        if wanted.manifest:
            return await self._answers.manifest(request, wanted.name, wanted.manifest, visitor.subject, only)
        return await self._answers.packument(request, wanted.name, visitor.subject, only)

    async def _sources(self, subject: Subject, wanted: Asked) -> Sources:
        """Who may hear the name. Raises `NotGivenError` for a name of our own that nobody may."""
        only = await self._judge.sources(subject, wanted.name)
        if only is not None and not (only and self._registries.asks(wanted.name, only)):
            raise self._judge.own_name(wanted.name, wanted.version or own_names.ANY)
        return only
