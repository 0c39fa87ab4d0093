"""Advisories as https://osv.dev's API gives them, for what asks that in a sandbox: `pip-audit`, `uv audit`.

Answers come from our own tables, with our own matching, so what a client says of a version is what policy goes by;
nobody outside hears what a sandbox has. A withdrawn advisory is in no answer, but can be had by its id. Who cannot be
answered rightly (another ecosystem, a commit) is told so: an empty answer would say that all is well.
"""

import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import batched
from typing import Any, Final
from urllib.parse import unquote

from aiohttp import web

from sandboxes.index.database import Database
from sandboxes.index.errors import UnknownError
from sandboxes.index.gate import Gate
from sandboxes.index.recorder import Ask, Kind
from sandboxes.screening import lookup
from sandboxes.screening.matching import ProjectAdvisories
from sandboxes.screening.words import Ecosystem, normalised

_MOST: Final = 1000  # queries of a batch
_BODY_TIME = 20.0  # seconds in which the question has to be here
_AT_ONCE: Final = 500  # names of one statement
_PAGE: Final = 1000  # advisories of one answer; the next page is asked for by its token
_LONGEST: Final = 1000  # characters of a name, a version, a token, an id
_ECOSYSTEMS: Final = {"pypi": Ecosystem.PYPI, "npm": Ecosystem.NPM}
_ASK: Final = Ask(Kind.METADATA, filename="osv")
_DOCUMENTS: Final = """
SELECT document::text AS document FROM screening_advisory WHERE id = ANY(%(ids)s) ORDER BY id"""
_MODIFIED: Final = (
    "SELECT id, document->>'modified' AS modified FROM screening_advisory WHERE id = ANY(%(ids)s)"
)

type _Subject = tuple[Ecosystem, str]


@dataclass(frozen=True, slots=True)
class Query:
    """`version` "": any. `after`: the last id of the page before."""

    subject: _Subject
    version: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class OsvAnswer:
    body: bytes
    received: None = None
    withheld: None = None

    async def send(self, request: web.Request) -> web.StreamResponse:
        headers = {"Content-Type": "application/json", "Cache-Control": "max-age=0, must-revalidate"}
        return web.Response(body=self.body, headers=headers)


class OsvApi:
    def __init__(self, gate: Gate, database: Database) -> None:
        self._gate = gate
        self._database = database
        self._working = asyncio.Semaphore(1)

    def table(self) -> list[web.RouteDef]:
        return [
            web.post("/osv/v1/query", self.query),
            web.post("/osv/v1/querybatch", self.querybatch),
            web.get("/osv/v1/vulns/{id}", self.vuln),
        ]

    async def query(self, request: web.Request) -> web.StreamResponse:
        return await self._gate.serve(request, _ASK, lambda _: self._query(request))

    async def querybatch(self, request: web.Request) -> web.StreamResponse:
        return await self._gate.serve(request, _ASK, lambda _: self._querybatch(request))

    async def vuln(self, request: web.Request) -> web.StreamResponse:
        return await self._gate.serve(request, _ASK, lambda _: self._vuln(request.match_info["id"]))

    async def _query(self, request: web.Request) -> OsvAnswer:
        asked = query_of(await _document(request))
        async with self._working:
            [(ids, more)] = await self._found([asked])
            rows = await self._database.rows(_DOCUMENTS, {"ids": ids})
        members = [f'"vulns":[{",".join(row["document"] for row in rows)}]'] if rows else []
        members += [f'"next_page_token":{json.dumps(more)}'] if more else []
        return _answer(f"{{{','.join(members)}}}")

    async def _querybatch(self, request: web.Request) -> OsvAnswer:
        asked = batch_of(await _document(request))
        async with self._working:
            found = await self._found(asked)
            wanted = list({identity for ids, _ in found for identity in ids})
            rows = await self._database.rows(_MODIFIED, {"ids": wanted})
        modified = {row["id"]: row["modified"] for row in rows}
        return _answer(json.dumps({"results": [_result(ids, more, modified) for ids, more in found]}))

    async def _vuln(self, identity: str) -> OsvAnswer:
        values = {"ids": [identity] if _is_plain(identity) else []}
        rows = await self._database.rows(_DOCUMENTS, values)
        if not rows:
            raise UnknownError("There is no advisory of this id here.")
        return _answer(rows[0]["document"])

    async def _found(self, asked: Sequence[Query]) -> list[tuple[list[str], str]]:
        """For each the ids of its page, and the next page's token ("": there is none)."""
        against = await self._against({query.subject for query in asked})
        return await asyncio.to_thread(_pages, asked, against)

    async def _against(self, subjects: Iterable[_Subject]) -> dict[_Subject, "_Known"]:
        known: dict[_Subject, _Known] = {}
        for ecosystem in Ecosystem:
            names = sorted(name for each, name in subjects if each is ecosystem)
            for some in batched(names, _AT_ONCE, strict=False):
                values = {"ecosystem": ecosystem.value, "projects": list(some)}
                rows = await self._database.rows(lookup.ADVISORIES, values)
                matched = await asyncio.to_thread(lookup.known, ecosystem, rows)
                for name, advisories in matched.items():
                    ids = sorted({row["id"] for row in rows if row["project"] == name})
                    known[ecosystem, name] = _Known(advisories, ids)
        return known


@dataclass(frozen=True, slots=True)
class _Known:
    advisories: ProjectAdvisories
    ids: list[str]  # of all of them


def _pages(asked: Sequence[Query], against: dict[_Subject, _Known]) -> list[tuple[list[str], str]]:
    found = []
    for query in asked:
        known = against.get(query.subject)
        ids = _ids(known, query.version) if known else []
        rest = [identity for identity in ids if identity > query.after]
        found.append((rest[:_PAGE], rest[_PAGE - 1] if len(rest) > _PAGE else ""))
    return found


def _ids(known: _Known, version: str) -> list[str]:
    return [each.id for each in known.advisories.of(version)] if version else known.ids


def _result(ids: Sequence[str], more: str, modified: dict[str, str]) -> dict[str, Any]:
    vulns = [{"id": identity, "modified": modified.get(identity, "")} for identity in ids]
    return ({"vulns": vulns} if vulns else {}) | ({"next_page_token": more} if more else {})


def _answer(text: str) -> OsvAnswer:
    return OsvAnswer(text.encode())


async def _document(request: web.Request) -> object:
    """Of at most a mebibyte, which is aiohttp's own limit."""
    try:
        async with asyncio.timeout(_BODY_TIME):
            body = await request.read()
    except TimeoutError as error:
        raise web.HTTPRequestTimeout(reason="The question did not become whole") from error
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _bad("A query is JSON") from error


def batch_of(document: object) -> list[Query]:
    """Raises `HTTPBadRequest`."""
    queries = document.get("queries") if isinstance(document, dict) else None
    if not isinstance(queries, list):
        raise _bad('A batch has a list of "queries"')
    if len(queries) > _MOST:
        raise _bad(f"A batch takes no more than {_MOST} queries")
    return [query_of(each) for each in queries]


def query_of(document: object) -> Query:
    """Raises `HTTPBadRequest`, which says what it cannot be asked."""
    if not isinstance(document, dict):
        raise _bad("A query is a JSON object")
    if "commit" in document:
        raise _bad("This index knows versions, not commits: ask by package and version")
    package = document.get("package")
    if not isinstance(package, dict):
        raise _bad('A query has a "package"')
    version, after = _text(document, "version"), _text(document, "page_token")
    purl = _text(package, "purl")
    if not purl:
        return Query(_subject(_text(package, "ecosystem"), _text(package, "name")), version, after)
    if _text(package, "name") or _text(package, "ecosystem"):
        raise _bad('A "purl" says name and ecosystem itself')
    subject, own = _of_purl(purl)
    if own and version:
        raise _bad('The version stands in the "purl" and beside it')
    return Query(subject, own or version, after)


def _of_purl(purl: str) -> tuple[_Subject, str]:
    """``pkg:npm/%40scope/name@1.0.0?qualifiers#subpath``."""
    scheme, _, rest = purl.partition(":")
    kind, _, path = rest.lstrip("/").partition("/")
    if scheme.lower() != "pkg" or not path:
        raise _bad('A "purl" begins with pkg:TYPE/NAME')
    path = path.partition("#")[0].partition("?")[0]
    name, _, version = path.rpartition("@") if "@" in path[1:] else (path, "", "")
    return _subject(kind, unquote(name).strip("/")), unquote(version)


def _subject(ecosystem: str, name: str) -> _Subject:
    known = _ECOSYSTEMS.get(ecosystem.lower())
    if known is None:
        raise _bad("This index knows the ecosystems PyPI and npm only")
    if not name:
        raise _bad("A package has a name")
    return known, normalised(known, name)


def _text(document: dict[str, Any], name: str) -> str:
    value = document.get(name, "")
    if not isinstance(value, str) or not _is_plain(value):
        raise _bad(f'"{name}" is no text, or an endless one')
    return value


def _is_plain(text: str) -> bool:
    """Nothing that PostgreSQL does not take: no NUL, no half of a character."""
    return len(text) <= _LONGEST and text.isprintable()


def _bad(reason: str) -> web.HTTPBadRequest:
    return web.HTTPBadRequest(reason=reason)
