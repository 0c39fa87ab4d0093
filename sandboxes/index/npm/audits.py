"""`npm audit`: what advisories say of the versions that a project has.

npm sends names with versions and wants, of each name, the advisories with the range that they are about: with
that it finds out by itself which packages pull the bad ones in, and which versions would mend it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from aiohttp import web

from sandboxes.index.database import Database
from sandboxes.index.negotiation import Coding
from sandboxes.index.npm.names import is_name
from sandboxes.index.npm.render import Form
from sandboxes.index.npm.view import why_url
from sandboxes.index.page_answer import Body, PageAnswer
from sandboxes.screening import lookup
from sandboxes.screening.matching import ProjectAdvisories
from sandboxes.screening.words import Ecosystem, Known, Severity

_MOST: Final = 20_000  # names, and versions of all of them
# npm's own words.
_SEVERITIES: Final = {
    Severity.LOW: "low",
    Severity.MEDIUM: "moderate",
    Severity.HIGH: "high",
    Severity.CRITICAL: "critical",
}
_ENDS: Final = {"fixed": "<", "limit": "<", "last_affected": "<="}
_SUMMARIES: Final = "SELECT id, summary FROM screening_advisory WHERE id = ANY(%(ids)s)"

type _Rows = Sequence[Mapping[str, Any]]


class Audits:
    def __init__(self, database: Database, public_url: str) -> None:
        self._database = database
        self._public_url = public_url

    async def answer(self, request: web.Request) -> PageAnswer:
        wanted = _asked(await request.read())
        values = {"ecosystem": Ecosystem.NPM.value, "projects": list(wanted)}
        rows = await self._database.rows(lookup.ADVISORIES, values)
        summaries = await self._database.rows(_SUMMARIES, {"ids": [row["id"] for row in rows]})
        said = {row["id"]: row["summary"] for row in summaries}
        found = {
            name: listed
            for name, against in lookup.known(Ecosystem.NPM, rows).items()
            if (listed := self._of(name, wanted[name], against, rows, said))
        }
        return PageAnswer(Body(Form.FULL, json.dumps(found).encode(), Coding.IDENTITY, ""))

    def _of(
        self,
        name: str,
        versions: list[str],
        against: ProjectAdvisories,
        rows: _Rows,
        summaries: Mapping[str, str],
    ) -> list[dict[str, Any]]:
        hit: dict[Known, list[str]] = {}
        for version in versions:
            for known in against.of(version):
                hit.setdefault(known, []).append(version)
        return [
            {
                "id": known.id,
                "url": why_url(self._public_url, name, affected[0]),
                "title": f"{known.id}: {summaries.get(known.id) or 'no summary'}",
                "severity": "critical" if known.malicious else _SEVERITIES[known.severity],
                "vulnerable_versions": _range(name, known, affected, rows),
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
        name: [version for version in versions if isinstance(version, str)]
        for name, versions in document.items()
        if is_name(name)
    }
    if len(wanted) + sum(map(len, wanted.values())) > _MOST:
        raise web.HTTPBadRequest(reason=f"An audit takes no more than {_MOST} names and versions")
    return wanted


def _range(name: str, known: Known, affected: Iterable[str], rows: _Rows) -> str:
    """As npm writes ranges. What was found affected is in it, whatever can be read of the advisory's."""
    own = [row for row in rows if row["project"] == name and row["id"] == known.id]
    spans = [span for row in own for events in row["ranges"] for span in _spans(events)]
    listed = [version for row in own for version in row["versions"]]
    return " || ".join(dict.fromkeys([*spans, *listed, *affected]))


def _spans(events: Iterable[tuple[str, str]]) -> Iterable[str]:
    start = ""
    for kind, version in events:
        if kind == "introduced":
            start = ">=0.0.0-0" if version == "0" else f">={version}"
        elif start and kind in _ENDS:
            yield f"{start} {_ENDS[kind]}{version}"
            start = ""
    if start:
        yield start
