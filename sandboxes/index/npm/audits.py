"""`npm audit`: what advisories say of the versions that a project has.

npm sends names with versions and wants, of each name, the advisories with the range that they are about: with
that it finds out by itself which packages pull the bad ones in, and which versions would mend it. A large one is
much to work out, so that is done in a thread, one audit at a time, and each row is looked at once.
"""

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import batched
from typing import Any, Final

from aiohttp import web

from sandboxes.index.database import Database
from sandboxes.index.negotiation import Coding
from sandboxes.index.npm.names import is_name
from sandboxes.index.npm.render import Form
from sandboxes.index.npm.view import why_url
from sandboxes.index.page_answer import Body, PageAnswer
from sandboxes.screening import lookup, versions
from sandboxes.screening.matching import ProjectAdvisories
from sandboxes.screening.words import Ecosystem, Known, Severity

_MOST: Final = 5_000  # names, and as many versions of all of them
_MOST_OF_ONE: Final = 200  # versions of one name
_BODY_TIME = 20.0  # seconds in which the question has to be here
_AT_ONCE: Final = 500  # names of one statement
# npm's own words.
_SEVERITIES: Final = {
    Severity.LOW: "low",
    Severity.MEDIUM: "moderate",
    Severity.HIGH: "high",
    Severity.CRITICAL: "critical",
}
_ENDS: Final = {"fixed": "<", "limit": "<", "last_affected": "<="}
_UNVERSIONED: Final = ("0", "*")  # bounds that stand for a beginning and an end
_SUMMARIES: Final = "SELECT id, summary FROM screening_advisory WHERE id = ANY(%(ids)s)"

type _Wanted = Mapping[str, Sequence[str]]
type _Rows = Sequence[Mapping[str, Any]]
type _Own = Mapping[tuple[str, str], _Rows]  # by project and advisory


class Audits:
    def __init__(self, database: Database, public_url: str) -> None:
        self._database = database
        self._public_url = public_url
        self._working = asyncio.Semaphore(1)

    async def answer(self, request: web.Request) -> PageAnswer:
        body = await _body(request)
        async with self._working:
            wanted = await asyncio.to_thread(_asked, body)
            rows, summaries = await self._known(list(wanted))
            data = await asyncio.to_thread(_report, wanted, rows, summaries, self._public_url)
        return PageAnswer(Body(Form.FULL, data, Coding.IDENTITY, ""))

    async def _known(self, names: list[str]) -> tuple[_Rows, dict[str, str]]:
        """The rows against these, and their advisories' summaries; by and by, for rows are made on the loop."""
        rows: list[Mapping[str, Any]] = []
        summaries: dict[str, str] = {}
        for some in batched(names, _AT_ONCE, strict=False):
            values = {"ecosystem": Ecosystem.NPM.value, "projects": list(some)}
            found = await self._database.rows(lookup.ADVISORIES, values)
            said = await self._database.rows(_SUMMARIES, {"ids": list({row["id"] for row in found})})
            rows += found
            summaries |= {row["id"]: row["summary"] for row in said}
        return rows, summaries


async def _body(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(_BODY_TIME):
            return await request.read()
    except TimeoutError as error:
        raise web.HTTPRequestTimeout(reason="The audit's question did not become whole") from error


def _report(wanted: _Wanted, rows: _Rows, summaries: Mapping[str, str], public_url: str) -> bytes:
    """What npm reads. Pure; each row is looked at once, however many there are."""
    own: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        own.setdefault((row["project"], row["id"]), []).append(row)
    found = {
        name: listed
        for name, against in lookup.known(Ecosystem.NPM, rows).items()
        if (listed := _of(name, wanted[name], against, own, summaries, public_url))
    }
    return json.dumps(found).encode()


def _of(
    name: str,
    asked: Sequence[str],
    against: ProjectAdvisories,
    own: _Own,
    summaries: Mapping[str, str],
    public_url: str,
) -> list[dict[str, Any]]:
    hit: dict[Known, list[str]] = {}
    for version in asked:
        for known in against.of(version):
            hit.setdefault(known, []).append(version)
    return [
        {
            "id": known.id,
            "url": why_url(public_url, name, affected[0]),
            "title": f"{known.id}: {summaries.get(known.id) or 'no summary'}",
            "severity": "critical" if known.malicious else _SEVERITIES[known.severity],
            "vulnerable_versions": _range(affected, own[name, known.id]),
            "cwe": [],
            "cvss": {"score": 0, "vectorString": None},
        }
        for known, affected in hit.items()
    ]


def _asked(body: bytes) -> dict[str, list[str]]:
    """Names with versions. Raises `HTTPBadRequest`."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise web.HTTPBadRequest(reason="An audit takes JSON") from error
    if not isinstance(document, dict) or not all(isinstance(each, list) for each in document.values()):
        raise web.HTTPBadRequest(reason="An audit takes lists of versions by package name")
    wanted = {
        name: [version for version in listed if isinstance(version, str)]
        for name, listed in document.items()
        if is_name(name)
    }
    if max(len(wanted), sum(map(len, wanted.values()))) > _MOST:
        raise web.HTTPBadRequest(reason=f"An audit takes no more than {_MOST} names and as many versions")
    if any(len(listed) > _MOST_OF_ONE for listed in wanted.values()):
        raise web.HTTPBadRequest(reason=f"An audit takes no more than {_MOST_OF_ONE} versions of one name")
    return wanted


def _range(affected: Sequence[str], own: _Rows) -> str:
    """As npm writes ranges. Where not all of it can be read, what was found affected is in it too."""
    spans = [span for row in own for events in row["ranges"] for span in _spans(events)]
    listed = [version for row in own for version in row["versions"]]
    bounds = (version for row in own for events in row["ranges"] for _, version in events)
    plain = (spans or listed) and all(map(_is_readable, (*bounds, *affected)))
    unread = () if plain else affected
    return " || ".join(dict.fromkeys([*spans, *listed, *unread]))


def _is_readable(version: str) -> bool:
    return version in _UNVERSIONED or versions.read(Ecosystem.NPM, version) is not None


def _spans(events: Iterable[tuple[str, str]]) -> Iterator[str]:
    start = ""
    for kind, version in events:
        if kind == "introduced":
            start = ">=0.0.0-0" if version == "0" else f">={version}"
        elif start and kind in _ENDS:
            yield f"{start} {_ENDS[kind]}{version}"
            start = ""
    if start:
        yield start
