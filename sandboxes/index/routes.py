"""The index's URLs. Handlers name what is asked for; the gate and `answers.py` do the rest."""

from time import monotonic
from typing import Final

from aiohttp import web

from sandboxes.index.answers import Answers
from sandboxes.index.client import client_of
from sandboxes.index.database import Database
from sandboxes.index.errors import NotAcceptableError, UnknownError
from sandboxes.index.files import Wanted
from sandboxes.index.gate import Gate
from sandboxes.index.names import METADATA, is_filename, is_project, is_sha256, normalise, release_of
from sandboxes.index.negotiation import Coding, Form, choose, coding_for
from sandboxes.index.once import Once
from sandboxes.index.provenance import SUFFIX, Provenances
from sandboxes.index.recorder import Ask, Kind

_READY_FOR: Final = 1.0  # seconds; anybody may ask, so the database is not asked for each


class Routes:
    def __init__(self, gate: Gate, answers: Answers, provenances: Provenances, database: Database) -> None:
        self._gate = gate
        self._answers = answers
        self._provenances = provenances
        self._database = database
        self._asking: Once[None, None] = Once()
        self._ready_until = 0.0  # on `monotonic`'s clock

    def table(self) -> list[web.RouteDef]:
        """GET routes; aiohttp adds HEAD to each."""
        return [
            web.get("/healthz", self.healthz),
            web.get("/readyz", self.readyz),
            web.get("/simple", self.to_page),
            web.get("/simple/", self.names),
            web.get("/simple/{project}", self.to_page),
            web.get("/simple/{project}/", self.page),
            web.get("/files/{project}/{sha256}/{filename}", self.file),
            web.get("/pypi/{project}/json", self.legacy),
            web.get("/packages/{project}/{sha256}/{filename}", self.file),  # as `legacy` names them
            web.get("/provenance/{project}/{sha256}/{filename}", self.provenance),
        ]

    async def healthz(self, request: web.Request) -> web.Response:
        """The process lives. Asks nobody, so a broken database restarts no healthy process."""
        return web.Response(text="ok\n")

    async def readyz(self, request: web.Request) -> web.Response:
        """The database answers, so something can be recorded and served."""
        if monotonic() >= self._ready_until:
            await self._asking.do(None, self._ask)
        return web.Response(text="ok\n")

    async def _ask(self) -> None:
        await self._database.rows("SELECT 1", {})
        self._ready_until = monotonic() + _READY_FOR

    async def to_page(self, request: web.Request) -> web.Response:
        """PEP 503: to the trailing slash and the normalised name. A path only, so host, scheme and
        credentials stay the client's; the query stays too."""
        project = request.match_info.get("project", "")
        if project and not is_project(project):
            raise UnknownError("There is no project of such a name.")
        path = f"/simple/{normalise(project)}/" if project else "/simple/"
        _, mark, query = request.raw_path.partition("?")
        return web.Response(status=301, headers={"Location": f"{path}{mark}{query}"})

    async def names(self, request: web.Request) -> web.StreamResponse:
        form, coding = _form(request), _coding(request)
        return await self._gate.serve(
            request, Ask(Kind.PAGE), lambda visitor: self._answers.names(visitor.subject, form, coding)
        )

    async def page(self, request: web.Request) -> web.StreamResponse:
        project = request.match_info["project"]
        if not is_project(project) or project != normalise(project):
            return await self.to_page(request)
        form, coding = _form(request), _coding(request)
        client = client_of(request.headers.get("User-Agent")).name
        return await self._gate.serve(
            request,
            Ask(Kind.PAGE, project),
            lambda visitor: self._answers.page(visitor.subject, project, form, coding, client),
        )

    async def legacy(self, request: web.Request) -> web.StreamResponse:
        project, coding = normalise(request.match_info["project"]), _coding(request)
        if not is_project(project):
            raise UnknownError("There is no project of such a name.")
        base = f"{request.scheme}://{request.host}"
        return await self._gate.serve(
            request,
            Ask(Kind.PAGE, project),
            lambda visitor: self._answers.legacy(visitor.subject, project, coding, base),
        )

    async def file(self, request: web.Request) -> web.StreamResponse:
        wanted = _wanted(request)
        ask = Ask(Kind.METADATA if wanted.metadata else Kind.FILE, wanted.project, wanted.filename)
        return await self._gate.serve(
            request, ask, lambda visitor: self._answers.file(request, wanted, visitor.subject)
        )

    async def provenance(self, request: web.Request) -> web.StreamResponse:
        wanted = _wanted(request)
        if wanted.metadata:
            raise UnknownError("There is no file of such a name.")
        ask = Ask(Kind.METADATA, wanted.project, f"{wanted.filename}{SUFFIX}")
        return await self._gate.serve(
            request, ask, lambda visitor: self._provenances.of(visitor.subject, wanted)
        )


def _wanted(request: web.Request) -> Wanted:
    project, sha256 = request.match_info["project"], request.match_info["sha256"]
    filename = request.match_info["filename"]
    metadata = filename.endswith(METADATA)
    filename = filename.removesuffix(METADATA)
    named = is_project(project) and project == normalise(project)
    if not (named and is_sha256(sha256) and is_filename(filename) and release_of(project, filename)):
        raise UnknownError("There is no file of such a name.")
    return Wanted(project, filename, sha256, metadata)


def _form(request: web.Request) -> Form:
    accept = request.headers.getall("Accept", [])
    form = choose(", ".join(accept) if accept else None)
    if form is None:
        raise NotAcceptableError(f"A page can be had as {', '.join(Form)}; the client accepts none of these.")
    return form


def _coding(request: web.Request) -> Coding:
    return coding_for(", ".join(request.headers.getall("Accept-Encoding", [])))
